//go:build wasip1

package tuner

import (
	"unsafe"

	"purlin.dev/plugin"
	"purlin.dev/plugin/internal/abi"
)

var exported Tuner

// Export makes a tuner the plugin's. Call it once, in an init function of the main package.
func Export(tuner Tuner) { exported = tuner }

var memory abi.Linear

//go:wasmexport purlin:plugin/lifecycle@0.2.0#check
func check(now, seed uint64, config, length uint32) uint32 {
	defer abi.Panics()
	context := plugin.Context{NowMs: now, Seed: seed, ConfigJSON: string(memory.At(config, length))}
	return abi.Put(memory, abi.Answer(struct{}{}, exported.Check(context)))
}

//go:wasmexport purlin:plugin/tuner@0.2.0#algorithms
func algorithms() uint32 {
	defer abi.Panics()
	return abi.Put(memory, exported.Algorithms())
}

//go:wasmexport purlin:plugin/tuner@0.2.0#validate
func validate(search uint32) uint32 {
	defer abi.Panics()
	return abi.Put(memory, exported.Validate(abi.Get[Search](memory, search)))
}

//go:wasmexport purlin:plugin/tuner@0.2.0#suggest
func suggest(arguments uint32) uint32 {
	defer abi.Panics()
	asked := abi.Get[struct {
		Search Search
		Count  uint32
	}](memory, arguments)
	return abi.Put(memory, abi.Answer(exported.Suggest(asked.Search, int(asked.Count))))
}

//go:wasmexport purlin:plugin/tuner@0.2.0#stop
func stop(search uint32) uint32 {
	defer abi.Panics()
	return abi.Put(memory, abi.Answer(exported.Stop(abi.Get[Search](memory, search))))
}

// Keeps the import of unsafe, without which go:wasmexport is not allowed.
var _ unsafe.Pointer
