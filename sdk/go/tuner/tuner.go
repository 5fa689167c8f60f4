// Package tuner is the stage of hyperparameter search: where to look next, and what to give up.
package tuner

import (
	"fmt"
	"slices"
	"strings"

	"purlin.dev/plugin"
)

// Scale says how probability, or a step, is spread over a range.
type Scale uint8

// In the order of the contract.
const (
	Linear Scale = iota
	Log
	Normal
	LogNormal
)

var scales = []string{"linear", "log", "normal", "log-normal"}

func (s Scale) String() string { return scales[s] }

// UnmarshalText reads it as case files write it.
func (s *Scale) UnmarshalText(text []byte) error { return unmarshal(s, scales, text) }

// Domain is the values that one parameter can take: FloatRange, IntRange, Discrete or Categorical.
type Domain interface{ domain() }

// FloatRange is real numbers from Min to Max, both included; Min + k*Step where there is a step.
type FloatRange struct {
	Min   float64  `json:"min"`
	Max   float64  `json:"max"`
	Step  *float64 `json:"step"`
	Scale Scale    `json:"scale"`
}

// IntRange is whole numbers from Min to Max, both included; Min + k*Step where there is a step.
type IntRange struct {
	Min   int64  `json:"min"`
	Max   int64  `json:"max"`
	Step  *int64 `json:"step"`
	Scale Scale  `json:"scale"`
}

// Discrete is numbers in an order that has meaning, as the user wrote them. Never empty.
type Discrete []string

// Categorical is words without an order. Never empty.
type Categorical []string

func (FloatRange) domain()  {}
func (IntRange) domain()    {}
func (Discrete) domain()    {}
func (Categorical) domain() {}

// Parameter is one dimension of a search.
type Parameter struct {
	Name   string
	Domain Domain
}

// Direction says whether less or more is better.
type Direction uint8

// In the order of the contract.
const (
	Minimize Direction = iota
	Maximize
)

var directions = []string{"minimize", "maximize"}

func (d Direction) String() string { return directions[d] }

// UnmarshalText reads it as case files write it.
func (d *Direction) UnmarshalText(text []byte) error { return unmarshal(d, directions, text) }

// Objective is what is searched for.
type Objective struct {
	Metric    string    `json:"metric"`
	Direction Direction `json:"direction"`
	// Goal is a value of the metric at which the search may end.
	Goal *float64 `json:"goal"`
	// Additional are metrics that are recorded beside it.
	Additional []string `json:"additional"`
}

// Assignment is the value of one parameter in one trial, as the text that is put into the trial's template.
type Assignment struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Measurement is one reading of a metric while a trial ran.
type Measurement struct {
	Metric string `json:"metric"`
	// Step counts the readings of this metric in this trial, from 0.
	Step  uint64  `json:"step"`
	Value float64 `json:"value"`
}

// Outcome says how a trial stands.
type Outcome uint8

// In the order of the contract.
const (
	Pending Outcome = iota
	Running
	Succeeded
	StoppedEarly
	Failed
)

var outcomes = []string{"pending", "running", "succeeded", "stopped-early", "failed"}

func (o Outcome) String() string { return outcomes[o] }

// UnmarshalText reads it as case files write it.
func (o *Outcome) UnmarshalText(text []byte) error { return unmarshal(o, outcomes, text) }

// Trial is one that was asked for earlier.
type Trial struct {
	ID          string       `json:"id"`
	Assignments []Assignment `json:"assignments"`
	Outcome     Outcome      `json:"outcome"`
	// Objective is the final value; nil until it is known.
	Objective    *float64      `json:"objective"`
	Measurements []Measurement `json:"measurements"`
}

// Search is the state of one search.
type Search struct {
	Context    plugin.Context
	Algorithm  string
	Settings   []plugin.Setting
	Parameters []Parameter
	Objective  Objective
	// Trials are oldest first; the position of a trial never changes.
	Trials []Trial
	// MaxTrials is how many trials the search may have in all; nil for no limit.
	MaxTrials *uint32
}

// Setting is the setting of this name and its position, which names it in errors: spec.algorithm.settings[2].
func (s Search) Setting(name string) (value string, index int, found bool) {
	index = slices.IndexFunc(s.Settings, func(one plugin.Setting) bool { return one.Name == name })
	if index < 0 {
		return "", 0, false
	}
	return s.Settings[index].Value, index, true
}

// Suggestion is a point to try: one assignment for each parameter, in the order of the parameters.
type Suggestion struct {
	Assignments []Assignment     `json:"assignments"`
	Labels      []plugin.Setting `json:"labels,omitempty"`
}

// Tuner is a plugin that says where a search should look next. Embed Base for what it leaves out.
type Tuner interface {
	// Algorithms are the names that it answers to, in lower case; the manifest lists the same.
	Algorithms() []string
	// Check says whether the configuration can be used and what the plugin depends on can be reached.
	Check(context plugin.Context) error
	// Validate is all that keeps this search from being run.
	Validate(search Search) []plugin.FieldError
	// Suggest is up to count new points, the same for the same search.
	Suggest(search Search, count int) ([]Suggestion, error)
	// Stop is the ids of running trials that are not worth finishing.
	Stop(search Search) ([]string, error)
}

// Base is a tuner without settings that checks nothing and stops nothing.
type Base struct{}

// Check is nil.
func (Base) Check(plugin.Context) error { return nil }

// Validate refuses all settings.
func (Base) Validate(search Search) []plugin.FieldError { return UnknownSettings(search) }

// Stop stops nothing.
func (Base) Stop(Search) ([]string, error) { return nil, nil }

// UnknownSettings is one error for each setting that is not among the known, or is given twice.
func UnknownSettings(search Search, known ...string) []plugin.FieldError {
	var errors []plugin.FieldError
	seen := map[string]bool{}
	for index, setting := range search.Settings {
		var reason string
		switch {
		case !slices.Contains(known, setting.Name) && len(known) == 0:
			reason = fmt.Sprintf("%s has no settings; remove %s", search.Algorithm, setting.Name)
		case !slices.Contains(known, setting.Name):
			reason = fmt.Sprintf("%s has no setting %s; it has %s", search.Algorithm, setting.Name, strings.Join(known, ", "))
		case seen[setting.Name]:
			reason = setting.Name + " is set twice; keep one"
		default:
			seen[setting.Name] = true
			continue
		}
		errors = append(errors, plugin.FieldError{Field: fmt.Sprintf("spec.algorithm.settings[%d]", index), Value: setting.Value, Reason: reason})
	}
	return errors
}

func unmarshal[E ~uint8](into *E, names []string, text []byte) error {
	index := slices.Index(names, string(text))
	if index < 0 {
		return fmt.Errorf("%q is none of %s", text, strings.Join(names, ", "))
	}
	*into = E(index)
	return nil
}
