// Package blobs is larger content of the plugin's own, as files without folders. Capability: blob. Errors are
// *plugin.HostError.
package blobs

// Info is a blob's name, and its size in bytes.
type Info struct {
	Name string
	Size uint64
}

// Store is what is behind the functions of this package.
type Store interface {
	// Read is at most length bytes from offset; nil where there is no such blob, empty behind its end.
	Read(name string, offset uint64, length uint32) ([]byte, error)
	// Write replaces a blob as a whole.
	Write(name string, content []byte) error
	// Delete deletes a blob; one that is not there is deleted already.
	Delete(name string) error
	// List is the blobs whose names begin with prefix, in order.
	List(prefix string) ([]Info, error)
}

// Read is at most length bytes from offset; nil where there is no such blob, empty behind its end.
func Read(name string, offset uint64, length uint32) ([]byte, error) {
	return store.Read(name, offset, length)
}

// Write replaces a blob as a whole: a reader sees the old content or the new.
func Write(name string, content []byte) error { return store.Write(name, content) }

// Delete deletes a blob; one that is not there is deleted already.
func Delete(name string) error { return store.Delete(name) }

// List is the blobs whose names begin with prefix, in order.
func List(prefix string) ([]Info, error) { return store.List(prefix) }
