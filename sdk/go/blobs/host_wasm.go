//go:build wasip1

package blobs

import (
	"unsafe"

	"purlin.dev/plugin/internal/abi"
)

//go:wasmimport purlin:plugin/blobs@0.2.0 read
func hostRead(name, length uint32, offset uint64, most, answer uint32)

//go:wasmimport purlin:plugin/blobs@0.2.0 write
func hostWrite(name, length, content, contentLength, answer uint32)

//go:wasmimport purlin:plugin/blobs@0.2.0 delete
func hostDelete(name, length, answer uint32)

//go:wasmimport purlin:plugin/blobs@0.2.0 list
func hostList(prefix, length, answer uint32)

type host struct{}

var store Store = host{}

func (host) Read(name string, offset uint64, most uint32) ([]byte, error) {
	at, length := abi.String(name)
	answer := abi.Region[abi.Result[*[]byte, abi.HostError]]()
	hostRead(at, length, offset, most, answer)
	content, err := abi.Asked[*[]byte](answer)
	if err != nil || content == nil {
		return nil, err
	}
	return *content, nil
}

func (host) Write(name string, content []byte) error {
	at, length := abi.String(name)
	bytes, bytesLength := abi.List(content)
	answer := abi.Region[abi.Result[struct{}, abi.HostError]]()
	hostWrite(at, length, bytes, bytesLength, answer)
	_, err := abi.Asked[struct{}](answer)
	return err
}

func (host) Delete(name string) error {
	at, length := abi.String(name)
	answer := abi.Region[abi.Result[struct{}, abi.HostError]]()
	hostDelete(at, length, answer)
	_, err := abi.Asked[struct{}](answer)
	return err
}

func (host) List(prefix string) ([]Info, error) {
	at, length := abi.String(prefix)
	answer := abi.Region[abi.Result[[]Info, abi.HostError]]()
	hostList(at, length, answer)
	return abi.Asked[[]Info](answer)
}

// Keeps the import of unsafe, without which go:wasmimport is not allowed.
var _ unsafe.Pointer
