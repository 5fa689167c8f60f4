//go:build wasip1

package tuners

import (
	"unsafe"

	"purlin.dev/plugin"
	"purlin.dev/plugin/internal/abi"
	"purlin.dev/plugin/tuner"
)

//go:wasmimport purlin:plugin/tuners@0.2.0 validate
func hostValidate(search, answer uint32)

//go:wasmimport purlin:plugin/tuners@0.2.0 suggest
func hostSuggest(arguments, answer uint32)

var validate = func(search tuner.Search) ([]plugin.FieldError, error) {
	answer := abi.Region[abi.Result[[]plugin.FieldError, abi.Fault]]()
	hostValidate(abi.Put(abi.Linear{}, search), answer)
	return faulty[[]plugin.FieldError](answer)
}

var suggest = func(search tuner.Search, count int) ([]tuner.Suggestion, error) {
	answer := abi.Region[abi.Result[[]tuner.Suggestion, abi.Fault]]()
	arguments := struct {
		Search tuner.Search
		Count  uint32
	}{search, uint32(count)}
	hostSuggest(abi.Put(abi.Linear{}, arguments), answer)
	return faulty[[]tuner.Suggestion](answer)
}

func faulty[T any](at uint32) (T, error) {
	answer := abi.Get[abi.Result[T, abi.Fault]](abi.Linear{}, at)
	if answer.Err != nil {
		return answer.Ok, abi.FromFault(*answer.Err)
	}
	return answer.Ok, nil
}

// Keeps the import of unsafe, without which go:wasmimport is not allowed.
var _ unsafe.Pointer
