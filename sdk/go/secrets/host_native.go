//go:build !wasip1

package secrets

import "purlin.dev/plugin/internal/abi"

var get = func(string) (map[string][]byte, error) { return nil, abi.NoHost("secrets") }

// StandIn makes Get call a function, for tests.
func StandIn(with func(name string) (map[string][]byte, error)) { get = with }
