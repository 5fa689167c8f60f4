package abi

import (
	"errors"

	"purlin.dev/plugin"
)

// Fault is the contract's fault.
type Fault interface{ fault() }

// Invalid, Retry and Failed are its cases.
type (
	Invalid []plugin.FieldError
	Retry   struct {
		AfterMs uint64
		Reason  string
	}
	Failed string
)

func (Invalid) fault() {}
func (Retry) fault()   {}
func (Failed) fault()  {}

// HostError is the contract's host-error.
type HostError interface{ hostError() }

// Denied and the others are its cases.
type (
	Denied      string
	BadRequest  string
	Conflict    string
	TooLarge    uint64
	Unavailable string
)

func (Denied) hostError()      {}
func (BadRequest) hostError()  {}
func (Conflict) hostError()    {}
func (TooLarge) hostError()    {}
func (Unavailable) hostError() {}

func init() {
	Variant[Fault](Invalid(nil), Retry{}, Failed(""))
	Variant[HostError](Denied(""), BadRequest(""), Conflict(""), TooLarge(0), Unavailable(""))
}

// retryMs is when a call is made again that ended because the host could not do something now.
const retryMs = 5000

// ToFault is a call's error as the contract has it.
func ToFault(err error) Fault {
	var (
		invalid *plugin.Invalid
		retry   *plugin.Retry
		host    *plugin.HostError
	)
	switch {
	case errors.As(err, &invalid) && len(invalid.Errors) > 0:
		return Invalid(invalid.Errors)
	case errors.As(err, &retry):
		return Retry{retry.AfterMs, retry.Reason}
	case errors.As(err, &host) && host.Kind == plugin.Unavailable:
		return Retry{retryMs, err.Error()}
	default:
		return Failed(err.Error())
	}
}

// FromFault is the contract's fault as an error.
func FromFault(fault Fault) error {
	switch fault := fault.(type) {
	case Invalid:
		return &plugin.Invalid{Errors: fault}
	case Retry:
		return &plugin.Retry{AfterMs: fault.AfterMs, Reason: fault.Reason}
	case Failed:
		return errors.New(string(fault))
	default:
		return nil
	}
}

// FromHostError is the contract's host-error as an error.
func FromHostError(failure HostError) error {
	switch failure := failure.(type) {
	case Denied:
		return &plugin.HostError{Kind: plugin.Denied, Text: string(failure)}
	case BadRequest:
		return &plugin.HostError{Kind: plugin.InvalidRequest, Text: string(failure)}
	case Conflict:
		return &plugin.HostError{Kind: plugin.Conflict, Text: string(failure)}
	case TooLarge:
		return &plugin.HostError{Kind: plugin.TooLarge, Limit: uint64(failure)}
	case Unavailable:
		return &plugin.HostError{Kind: plugin.Unavailable, Text: string(failure)}
	default:
		return nil
	}
}

// Answer is a call's answer as the contract has it.
func Answer[T any](value T, err error) Result[T, Fault] {
	if err != nil {
		fault := ToFault(err)
		return Result[T, Fault]{Err: &fault}
	}
	return Result[T, Fault]{Ok: value}
}

// Unpack is a host function's answer as Go has it.
func Unpack[T any](answer Result[T, HostError]) (T, error) {
	if answer.Err != nil {
		return answer.Ok, FromHostError(*answer.Err)
	}
	return answer.Ok, nil
}
