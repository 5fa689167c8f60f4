//go:build wasip1

package kv

import (
	"unsafe"

	"purlin.dev/plugin/internal/abi"
)

//go:wasmimport purlin:plugin/kv@0.2.0 get
func hostGet(key, length, answer uint32)

//go:wasmimport purlin:plugin/kv@0.2.0 set
func hostSet(key, length, value, valueLength, expects uint32, expected uint64, answer uint32)

//go:wasmimport purlin:plugin/kv@0.2.0 delete
func hostDelete(key, length, answer uint32)

//go:wasmimport purlin:plugin/kv@0.2.0 keys
func hostKeys(prefix, length, answer uint32)

type host struct{}

var store Store = host{}

func (host) Get(key string) (*Item, error) {
	at, length := abi.String(key)
	answer := abi.Region[abi.Result[*Item, abi.HostError]]()
	hostGet(at, length, answer)
	return abi.Asked[*Item](answer)
}

func (host) Set(key string, value []byte, expected *uint64) (uint64, error) {
	at, length := abi.String(key)
	content, contentLength := abi.List(value)
	expects, version := abi.Option(expected)
	answer := abi.Region[abi.Result[uint64, abi.HostError]]()
	hostSet(at, length, content, contentLength, expects, version, answer)
	return abi.Asked[uint64](answer)
}

func (host) Delete(key string) error {
	at, length := abi.String(key)
	answer := abi.Region[abi.Result[struct{}, abi.HostError]]()
	hostDelete(at, length, answer)
	_, err := abi.Asked[struct{}](answer)
	return err
}

func (host) Keys(prefix string) ([]string, error) {
	at, length := abi.String(prefix)
	answer := abi.Region[abi.Result[[]string, abi.HostError]]()
	hostKeys(at, length, answer)
	return abi.Asked[[]string](answer)
}

// Keeps the import of unsafe, without which go:wasmimport is not allowed.
var _ unsafe.Pointer
