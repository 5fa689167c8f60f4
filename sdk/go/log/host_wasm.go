//go:build wasip1

package log

import "unsafe"

//go:wasmimport purlin:plugin/log@0.2.0 write
func hostWrite(level uint32, message unsafe.Pointer, length uint32)

func write(level uint32, message string) {
	hostWrite(level, unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}
