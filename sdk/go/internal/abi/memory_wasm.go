//go:build wasip1

package abi

import "unsafe"

// Linear is the instance's own memory.
type Linear struct{}

// kept holds what was given to the host or is on its way to it. An instance serves one call, so nothing is let go.
var kept [][]uint64

// At is the bytes at an address.
func (Linear) At(address, length uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(address))), length)
}

// New is aligned to 8 bytes, which is the most that the contract's types need.
func (Linear) New(length, _ uint32) uint32 {
	region := make([]uint64, length/8+1)
	kept = append(kept, region)
	return uint32(uintptr(unsafe.Pointer(&region[0])))
}

// The host asks for memory for what it hands over.
//
//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	address := Linear{}.New(size, align)
	if oldSize > 0 {
		copy(Linear{}.At(address, size), Linear{}.At(old, oldSize))
	}
	return address
}
