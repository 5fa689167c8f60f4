//go:build !wasip1

package kv

import "purlin.dev/plugin/internal/abi"

type none struct{}

var store Store = none{}

func (none) Get(string) (*Item, error)                   { return nil, abi.NoHost("kv") }
func (none) Set(string, []byte, *uint64) (uint64, error) { return 0, abi.NoHost("kv") }
func (none) Delete(string) error                         { return abi.NoHost("kv") }
func (none) Keys(string) ([]string, error)               { return nil, abi.NoHost("kv") }

// StandIn puts a store behind the functions of this package, for tests.
func StandIn(with Store) { store = with }
