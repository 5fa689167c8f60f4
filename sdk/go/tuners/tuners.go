// Package tuners calls the tuner of whichever installed plugin serves an algorithm. Capability: call(tuner).
package tuners

import (
	"purlin.dev/plugin"
	"purlin.dev/plugin/tuner"
)

// Validate is what Validate of the plugin that serves search.Algorithm says. The error is that plugin's fault.
func Validate(search tuner.Search) ([]plugin.FieldError, error) { return validate(search) }

// Suggest is what Suggest of the plugin that serves search.Algorithm says. The error is that plugin's fault.
func Suggest(search tuner.Search, count int) ([]tuner.Suggestion, error) {
	return suggest(search, count)
}
