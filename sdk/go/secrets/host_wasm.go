//go:build wasip1

package secrets

import (
	"unsafe"

	"purlin.dev/plugin/internal/abi"
)

type entry struct {
	Key   string
	Value []byte
}

//go:wasmimport purlin:plugin/secrets@0.2.0 get
func hostGet(name, length, answer uint32)

var get = func(name string) (map[string][]byte, error) {
	at, length := abi.String(name)
	answer := abi.Region[abi.Result[*[]entry, abi.HostError]]()
	hostGet(at, length, answer)
	entries, err := abi.Asked[*[]entry](answer)
	if err != nil || entries == nil {
		return nil, err
	}
	found := make(map[string][]byte, len(*entries))
	for _, one := range *entries {
		found[one.Key] = one.Value
	}
	return found, nil
}

// Keeps the import of unsafe, without which go:wasmimport is not allowed.
var _ unsafe.Pointer
