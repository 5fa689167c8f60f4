//go:build !wasip1

package blobs

import "purlin.dev/plugin/internal/abi"

type none struct{}

var store Store = none{}

func (none) Read(string, uint64, uint32) ([]byte, error) { return nil, abi.NoHost("blobs") }
func (none) Write(string, []byte) error                  { return abi.NoHost("blobs") }
func (none) Delete(string) error                         { return abi.NoHost("blobs") }
func (none) List(string) ([]Info, error)                 { return nil, abi.NoHost("blobs") }

// StandIn puts a store behind the functions of this package, for tests.
func StandIn(with Store) { store = with }
