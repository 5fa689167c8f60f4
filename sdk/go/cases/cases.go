// Package cases runs a plugin against case files in a plain go test: those that `purlin plugin test` runs in the sandbox.
//
//	func TestCases(t *testing.T) { cases.Tuner(t, "cases.json", Midpoint{}) }
package cases

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strconv"
	"testing"

	"purlin.dev/plugin"
	"purlin.dev/plugin/dialect"
	"purlin.dev/plugin/tuner"
)

type file struct {
	Name   string          `json:"name"`
	Call   string          `json:"call"`
	NowMs  uint64          `json:"nowMs"`
	Seed   json.RawMessage `json:"seed"`
	Config json.RawMessage `json:"config"`
	Search struct {
		Algorithm  string           `json:"algorithm"`
		Settings   []plugin.Setting `json:"settings"`
		Parameters []struct {
			Name        string            `json:"name"`
			Float       *tuner.FloatRange `json:"float"`
			Int         *tuner.IntRange   `json:"int"`
			Discrete    tuner.Discrete    `json:"discrete"`
			Categorical tuner.Categorical `json:"categorical"`
		} `json:"parameters"`
		Objective tuner.Objective `json:"objective"`
		Trials    []tuner.Trial   `json:"trials"`
		MaxTrials *uint32         `json:"maxTrials"`
	} `json:"search"`
	Count    int              `json:"count"`
	Parent   dialect.Object   `json:"parent"`
	Children []dialect.Object `json:"children"`
	Related  []dialect.Object `json:"related"`
	Expect   any              `json:"expect"`
}

// Tuner runs every case of a JSON file against a tuner, each twice.
func Tuner(t *testing.T, path string, tuner tuner.Tuner) {
	t.Helper()
	run(t, path, func(one file) (any, error) { return ofTuner(one, tuner) })
}

// Dialect runs every case of a JSON file against a dialect, each twice.
func Dialect(t *testing.T, path string, dialect dialect.Dialect) {
	t.Helper()
	run(t, path, func(one file) (any, error) { return ofDialect(one, dialect) })
}

func run(t *testing.T, path string, call func(file) (any, error)) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []file
	if err := json.Unmarshal(content, &all); err != nil {
		var one file
		if json.Unmarshal(content, &one) != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = []file{one}
	}
	for _, one := range all {
		t.Run(one.Name, func(t *testing.T) {
			first, second := answer(t, one, call), answer(t, one, call)
			if !reflect.DeepEqual(first, second) {
				t.Errorf("the same request gave another answer:\n%s\n%s", text(first), text(second))
			}
			if !reflect.DeepEqual(first, one.Expect) {
				t.Errorf("expected %s\ngot      %s", text(one.Expect), text(first))
			}
		})
	}
}

// answer is a call's answer as JSON has it, so that it can be compared.
func answer(t *testing.T, one file, call func(file) (any, error)) any {
	t.Helper()
	value, err := call(one)
	if err != nil {
		value = map[string]any{"fault": fault(err)}
	}
	content, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(content, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

func fault(err error) any {
	var invalid *plugin.Invalid
	var retry *plugin.Retry
	switch {
	case errors.As(err, &invalid):
		return map[string]any{"invalid": invalid.Errors}
	case errors.As(err, &retry):
		return map[string]any{"retry": map[string]any{"afterMs": retry.AfterMs, "reason": retry.Reason}}
	default:
		return map[string]any{"failed": err.Error()}
	}
}

func (f file) context() plugin.Context {
	seed := string(f.Seed)
	if unquoted, err := strconv.Unquote(seed); err == nil {
		seed = unquoted
	}
	number, _ := strconv.ParseUint(seed, 10, 64)
	config := "{}"
	if len(f.Config) > 0 {
		config = string(f.Config)
	}
	return plugin.Context{NowMs: f.NowMs, Seed: number, ConfigJSON: config}
}

func (f file) search() tuner.Search {
	found := tuner.Search{
		Context: f.context(), Algorithm: f.Search.Algorithm, Settings: f.Search.Settings,
		Objective: f.Search.Objective, Trials: f.Search.Trials, MaxTrials: f.Search.MaxTrials,
	}
	for _, one := range f.Search.Parameters {
		parameter := tuner.Parameter{Name: one.Name}
		switch {
		case one.Float != nil:
			parameter.Domain = *one.Float
		case one.Int != nil:
			parameter.Domain = *one.Int
		case one.Discrete != nil:
			parameter.Domain = one.Discrete
		default:
			parameter.Domain = one.Categorical
		}
		found.Parameters = append(found.Parameters, parameter)
	}
	return found
}

func ofTuner(one file, tuned tuner.Tuner) (any, error) {
	switch one.Call {
	case "check":
		return struct{}{}, tuned.Check(one.context())
	case "algorithms":
		return map[string]any{"algorithms": tuned.Algorithms()}, nil
	case "validate":
		return map[string]any{"errors": list(tuned.Validate(one.search()))}, nil
	case "stop":
		ids, err := tuned.Stop(one.search())
		return map[string]any{"stop": list(ids)}, err
	case "suggest":
		points, err := tuned.Suggest(one.search(), one.Count)
		return map[string]any{"suggestions": list(points)}, err
	default:
		return nil, errors.New("a case of a tuner cannot call " + one.Call)
	}
}

func ofDialect(one file, translated dialect.Dialect) (any, error) {
	request := dialect.Request{Context: one.context(), Parent: one.Parent, Children: one.Children, Related: one.Related}
	decide := translated.Sync
	switch one.Call {
	case "check":
		return struct{}{}, translated.Check(one.context())
	case "related":
		selectors, err := translated.Related(one.context(), one.Parent)
		return map[string]any{"selectors": list(selectors)}, err
	case "finalize":
		decide = translated.Finalize
	case "sync":
	default:
		return nil, errors.New("a case of a dialect cannot call " + one.Call)
	}
	response, err := decide(request)
	response.Children = list(response.Children)
	return response, err
}

// list is a list that JSON writes as [] where it is empty.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func text(value any) string {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(content)
}
