//go:build wasip1

package dialect

import (
	"encoding/json"
	"fmt"
	"unsafe"

	"purlin.dev/plugin"
	"purlin.dev/plugin/internal/abi"
)

var exported Dialect

// Export makes a dialect the plugin's. Call it once, in an init function of the main package.
func Export(dialect Dialect) { exported = dialect }

var memory abi.Linear

// response is Response as the contract has it.
type response struct {
	Children       []string
	Status         *string
	RequeueAfterMs *uint64
	Events         []Event
}

//go:wasmexport purlin:plugin/lifecycle@0.2.0#check
func check(now, seed uint64, config, length uint32) uint32 {
	defer abi.Panics()
	return abi.Put(memory, abi.Answer(struct{}{}, exported.Check(context(now, seed, config, length))))
}

//go:wasmexport purlin:plugin/controller@0.2.0#related
func related(now, seed uint64, config, length, parent, parentLength uint32) uint32 {
	defer abi.Panics()
	object, err := object(string(memory.At(parent, parentLength)))
	if err != nil {
		return abi.Put(memory, abi.Answer[[]Selector](nil, err))
	}
	return abi.Put(memory, abi.Answer(exported.Related(context(now, seed, config, length), object)))
}

//go:wasmexport purlin:plugin/controller@0.2.0#sync
func sync(now, seed uint64, config, length, parent, parentLength, children, childrenLength, others, othersLength uint32) uint32 {
	defer abi.Panics()
	request, err := request(context(now, seed, config, length), parent, parentLength, children, childrenLength, others, othersLength)
	return answer(request, err, exported.Sync)
}

//go:wasmexport purlin:plugin/controller@0.2.0#finalize
func finalize(now, seed uint64, config, length, parent, parentLength, children, childrenLength, others, othersLength uint32) uint32 {
	defer abi.Panics()
	request, err := request(context(now, seed, config, length), parent, parentLength, children, childrenLength, others, othersLength)
	return answer(request, err, exported.Finalize)
}

func answer(request Request, err error, decide func(Request) (Response, error)) uint32 {
	if err != nil {
		return abi.Put(memory, abi.Answer(response{}, err))
	}
	decided, err := decide(request)
	if err != nil {
		return abi.Put(memory, abi.Answer(response{}, err))
	}
	return abi.Put(memory, abi.Answer(wire(decided)))
}

func wire(decided Response) (response, error) {
	wire := response{RequeueAfterMs: decided.RequeueAfterMs, Events: decided.Events}
	for _, child := range decided.Children {
		text, err := json.Marshal(child)
		if err != nil {
			return wire, fmt.Errorf("a child cannot be written as JSON: %w", err)
		}
		wire.Children = append(wire.Children, string(text))
	}
	if decided.Status != nil {
		text, err := json.Marshal(decided.Status)
		if err != nil {
			return wire, fmt.Errorf("the status cannot be written as JSON: %w", err)
		}
		status := string(text)
		wire.Status = &status
	}
	return wire, nil
}

func context(now, seed uint64, config, length uint32) plugin.Context {
	return plugin.Context{NowMs: now, Seed: seed, ConfigJSON: string(memory.At(config, length))}
}

func request(context plugin.Context, parent, parentLength, children, childrenLength, others, othersLength uint32) (Request, error) {
	request := Request{Context: context}
	var err error
	if request.Parent, err = object(string(memory.At(parent, parentLength))); err != nil {
		return request, err
	}
	if request.Children, err = objects(children, childrenLength); err != nil {
		return request, err
	}
	request.Related, err = objects(others, othersLength)
	return request, err
}

func objects(address, count uint32) ([]Object, error) {
	var found []Object
	for index := range count {
		object, err := object(abi.Get[string](memory, address+index*8))
		if err != nil {
			return nil, err
		}
		found = append(found, object)
	}
	return found, nil
}

func object(text string) (Object, error) {
	var object Object
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return nil, fmt.Errorf("an object in the request is no JSON object: %w", err)
	}
	return object, nil
}

// Keeps the import of unsafe, without which go:wasmexport is not allowed.
var _ unsafe.Pointer
