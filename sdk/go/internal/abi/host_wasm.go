//go:build wasip1

package abi

import "reflect"

// Region is new memory for an answer of the host.
func Region[T any]() uint32 {
	size, alignment := Layout(reflect.TypeFor[T]())
	return Linear{}.New(size, alignment)
}

// String is a text's address and length.
func String(text string) (address, length uint32) { return Text(Linear{}, text) }

// List is a list's address and length.
func List[T any](items []T) (address, length uint32) {
	pair := Put(Linear{}, items)
	return Get[uint32](Linear{}, pair), Get[uint32](Linear{}, pair+4)
}

// Option is whether there is a value, and the value or zero.
func Option[T any](value *T) (there uint32, inner T) {
	if value == nil {
		return 0, inner
	}
	return 1, *value
}

// Asked reads a host function's answer.
func Asked[T any](at uint32) (T, error) {
	return Unpack(Get[Result[T, HostError]](Linear{}, at))
}
