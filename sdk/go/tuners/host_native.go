//go:build !wasip1

package tuners

import (
	"purlin.dev/plugin"
	"purlin.dev/plugin/internal/abi"
	"purlin.dev/plugin/tuner"
)

var validate = func(tuner.Search) ([]plugin.FieldError, error) { return nil, abi.NoHost("tuners") }

var suggest = func(tuner.Search, int) ([]tuner.Suggestion, error) { return nil, abi.NoHost("tuners") }

// StandIn makes the functions of this package ask a tuner, for tests.
func StandIn(with tuner.Tuner) {
	validate = func(search tuner.Search) ([]plugin.FieldError, error) { return with.Validate(search), nil }
	suggest = with.Suggest
}
