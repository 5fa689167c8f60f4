//go:build !wasip1

package events

import "purlin.dev/plugin/internal/abi"

var publish = func(Event) error { return abi.NoHost("events") }

// StandIn makes Publish call a function, for tests.
func StandIn(with func(Event) error) { publish = with }
