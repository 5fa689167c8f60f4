package plugin

import (
	"fmt"
	"strings"
)

// FieldError is one field that the user must correct.
type FieldError struct {
	// Field is its path, as `kubectl explain` takes it: spec.algorithm.settings[0].
	Field string `json:"field"`
	// Value is the offending value as the user wrote it; empty where the field is missing.
	Value string `json:"value"`
	// Reason says what is wrong, and what would be right.
	Reason string `json:"reason"`
}

// Invalid is the fault of a user who must change the object. The call is not made again until it changes.
type Invalid struct {
	Errors []FieldError
}

func (i *Invalid) Error() string {
	texts := make([]string, len(i.Errors))
	for at, one := range i.Errors {
		texts[at] = one.Field + ": " + one.Reason
	}
	return strings.Join(texts, "; ")
}

// Check is nil where there is nothing to correct, and otherwise the fault that lists it all.
func Check(errors []FieldError) error {
	if len(errors) == 0 {
		return nil
	}
	return &Invalid{errors}
}

// Retry is the fault of something that is not ready yet. The call is made again after the delay.
type Retry struct {
	// AfterMs is the delay, in milliseconds.
	AfterMs uint64
	// Reason is shown to the user while they wait.
	Reason string
}

func (r *Retry) Error() string { return r.Reason }

// Any other error is the fault of a plugin that cannot go on: the call is made again with the kernel's own backoff, and
// the error's text is shown to the user. A panic is a trap: it costs the call, and its text is in the log.

// HostErrorKind says why the host did not do what a plugin asked for.
type HostErrorKind uint8

// In the order of the contract.
const (
	// Denied: no grant covers it; the text names the grant that would.
	Denied HostErrorKind = iota
	// InvalidRequest: it makes no sense.
	InvalidRequest
	// Conflict: something else was written since the version that the request named.
	Conflict
	// TooLarge: it is larger than Limit bytes.
	TooLarge
	// Unavailable: it cannot be had now, and may be asked for again.
	Unavailable
)

// HostError is why the host did not do what a plugin asked for. Returned from a call as it is, one that is Unavailable
// becomes a Retry and any other a failure.
type HostError struct {
	Kind HostErrorKind
	// Text is empty where Kind is TooLarge.
	Text string
	// Limit is in bytes, where Kind is TooLarge.
	Limit uint64
}

func (e *HostError) Error() string {
	if e.Kind == TooLarge {
		return fmt.Sprintf("larger than %d bytes", e.Limit)
	}
	return e.Text
}
