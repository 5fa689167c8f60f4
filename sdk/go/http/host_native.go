//go:build !wasip1

package http

import "purlin.dev/plugin/internal/abi"

var send = func(Request) (Response, error) { return Response{}, abi.NoHost("http") }

// StandIn makes Send call a function, for tests.
func StandIn(with func(Request) (Response, error)) { send = with }
