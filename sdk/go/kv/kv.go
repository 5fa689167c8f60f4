// Package kv is a small store of the plugin's own, for what is no object: a cursor, a token. Capability: kv. At most 512
// KiB in all. Keys are 1 to 253 bytes of A-Z a-z 0-9 - _ . /. Errors are *plugin.HostError.
package kv

// Item is a value, and its version, which changes with each write.
type Item struct {
	Value   []byte
	Version uint64
}

// Store is what is behind the functions of this package.
type Store interface {
	// Get is nil where there is no such key.
	Get(key string) (*Item, error)
	// Set writes a value and gives its version. With expected it is written only where the present version is that one
	// (0: only where there is none), and is a Conflict otherwise.
	Set(key string, value []byte, expected *uint64) (uint64, error)
	// Delete deletes a key; one that is not there is deleted already.
	Delete(key string) error
	// Keys are those that begin with prefix, in order.
	Keys(prefix string) ([]string, error)
}

// Get is nil where there is no such key.
func Get(key string) (*Item, error) { return store.Get(key) }

// Set writes a value and gives its version; see Store.
func Set(key string, value []byte, expected *uint64) (uint64, error) {
	return store.Set(key, value, expected)
}

// Delete deletes a key; one that is not there is deleted already.
func Delete(key string) error { return store.Delete(key) }

// Keys are those that begin with prefix, in order.
func Keys(prefix string) ([]string, error) { return store.Keys(prefix) }
