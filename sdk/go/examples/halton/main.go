// Halton: points that fill a space evenly, in the order of a low-discrepancy sequence.
//
// What is drawn is defined in docs/halton.md, to the last bit: the four SDKs' examples pass the same vectors.
package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"purlin.dev/plugin"
	"purlin.dev/plugin/tuner"
)

var bases = []int64{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53}

const most = 1 << 53

// Halton is the plugin.
type Halton struct{ tuner.Base }

func init() { tuner.Export(Halton{}) }

func main() {}

// Algorithms is halton.
func (Halton) Algorithms() []string { return []string{"halton"} }

// Validate is every error of a search.
func (Halton) Validate(search tuner.Search) []plugin.FieldError {
	errors := tuner.UnknownSettings(search, "random_state", "skip")
	for _, name := range []string{"random_state", "skip"} {
		if value, index, found := search.Setting(name); found {
			if _, ok := whole(value); !ok {
				errors = append(errors, plugin.FieldError{
					Field:  fmt.Sprintf("spec.algorithm.settings[%d]", index),
					Value:  value,
					Reason: name + " must be a whole number of 32 bits",
				})
			}
		}
	}
	if count := len(search.Parameters); count < 1 || count > len(bases) {
		errors = append(errors, plugin.FieldError{
			Field:  "spec.parameters",
			Value:  strconv.Itoa(count),
			Reason: fmt.Sprintf("halton searches 1 to %d parameters", len(bases)),
		})
	}
	for index, parameter := range search.Parameters {
		errors = append(errors, domainErrors(fmt.Sprintf("spec.parameters[%d]", index), parameter.Domain)...)
	}
	return errors
}

// Suggest is the next points of the sequence.
func (halton Halton) Suggest(search tuner.Search, count int) ([]tuner.Suggestion, error) {
	if err := plugin.Check(halton.Validate(search)); err != nil {
		return nil, err
	}
	seed := setting(search, "random_state", search.Context.Seed)
	skip := int64(setting(search, "skip", 0))
	first := len(search.Trials)
	last := first + count
	if search.MaxTrials != nil {
		last = min(last, int(*search.MaxTrials))
	}
	var points []tuner.Suggestion
	for index := first; index < last; index++ {
		var point tuner.Suggestion
		for dimension, parameter := range search.Parameters {
			shift := plugin.NewRandom(seed, uint64(dimension)).Unit()
			unit := inverse(skip+int64(index)+1, bases[dimension]) + shift
			if unit >= 1 {
				unit--
			}
			value := pick(parameter.Domain, unit)
			point.Assignments = append(point.Assignments, tuner.Assignment{Name: parameter.Name, Value: value})
		}
		points = append(points, point)
	}
	return points, nil
}

func setting(search tuner.Search, name string, otherwise uint64) uint64 {
	if text, _, found := search.Setting(name); found {
		if value, ok := whole(text); ok {
			return value
		}
	}
	return otherwise
}

// whole reads a whole number of 32 bits, in decimal digits.
func whole(text string) (uint64, bool) {
	value, err := strconv.ParseUint(text, 10, 32)
	return value, err == nil && len(text) <= 10
}

// inverse is the digits of index, mirrored behind the point.
func inverse(index, base int64) float64 {
	numerator, denominator := int64(0), int64(1)
	for ; index > 0; index /= base {
		numerator = numerator*base + index%base
		denominator *= base
	}
	return float64(numerator) / float64(denominator)
}

// pick is the value at a place of [0, 1).
func pick(domain tuner.Domain, unit float64) string {
	switch domain := domain.(type) {
	case tuner.FloatRange:
		if domain.Step == nil {
			return plugin.Number(between(domain.Min, domain.Max, domain.Scale, unit))
		}
		steps := (domain.Max - domain.Min) / *domain.Step
		last := int64(math.Floor(steps + float64(1e-9*max(steps, 1))))
		return plugin.OnStep(domain.Min, *domain.Step, position(domain.Min, domain.Max, *domain.Step, last, domain.Scale, unit))
	case tuner.IntRange:
		step := int64(1)
		if domain.Step != nil {
			step = *domain.Step
		}
		last := (domain.Max - domain.Min) / step
		at := position(float64(domain.Min), float64(domain.Max), float64(step), last, domain.Scale, unit)
		return strconv.FormatInt(domain.Min+at*step, 10)
	case tuner.Discrete:
		return domain[at(unit, int64(len(domain))-1)]
	case tuner.Categorical:
		return domain[at(unit, int64(len(domain))-1)]
	default:
		return ""
	}
}

func at(unit float64, last int64) int64 {
	return min(int64(math.Floor(unit*float64(last+1))), last)
}

func position(low, high, step float64, last int64, scale tuner.Scale, unit float64) int64 {
	if scale == tuner.Linear {
		return at(unit, last)
	}
	return min(int64(math.Floor((between(low, high, scale, unit)-low)/step+0.5)), last)
}

func between(low, high float64, scale tuner.Scale, unit float64) float64 {
	if scale == tuner.Linear {
		// The conversions keep compilers from fusing products and sum, which would round once instead of twice.
		return min(max(float64(low*(1-unit))+float64(high*unit), low), high)
	}
	// low * (high / low) ** unit, by roots alone: they are exact to the last bit everywhere, powers are not.
	value, root := low, high/low
	for range 32 {
		root = math.Sqrt(root)
		unit *= 2
		if unit >= 1 {
			unit--
			value *= root
		}
	}
	return min(max(value, low), high)
}

func domainErrors(path string, domain tuner.Domain) []plugin.FieldError {
	var errors []plugin.FieldError
	add := func(name, value, reason string) {
		errors = append(errors, plugin.FieldError{Field: path + "." + name, Value: value, Reason: reason})
	}
	check := func(low, high float64, step *float64, scale tuner.Scale, text func(float64) string) {
		for _, bound := range []struct {
			name  string
			value float64
		}{{"min", low}, {"max", high}} {
			if !(math.Abs(bound.value) <= most) {
				add(bound.name, text(bound.value), "must lie within 2^53 of 0")
			}
		}
		if low > high {
			add("min", text(low), "must be at most max, which is "+text(high))
		}
		if step != nil && !(*step > 0 && *step <= most) {
			add("step", text(*step), "must be above 0")
		}
		if strings.HasSuffix(scale.String(), "normal") {
			add("scale", scale.String(), "halton has no normal scales; use linear or log")
		}
		if scale == tuner.Log && low <= 0 {
			add("min", text(low), "must be above 0 on the scale log")
		}
	}
	switch domain := domain.(type) {
	case tuner.FloatRange:
		check(domain.Min, domain.Max, domain.Step, domain.Scale, plugin.Number)
	case tuner.IntRange:
		var step *float64
		if domain.Step != nil {
			value := float64(*domain.Step)
			step = &value
		}
		whole := func(value float64) string { return strconv.FormatFloat(value, 'f', 0, 64) }
		check(float64(domain.Min), float64(domain.Max), step, domain.Scale, whole)
	case tuner.Discrete:
		if len(domain) == 0 {
			add("list", "", "must have at least one value")
		}
	case tuner.Categorical:
		if len(domain) == 0 {
			add("list", "", "must have at least one value")
		}
	}
	return errors
}
