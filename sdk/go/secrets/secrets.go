// Package secrets reads Secrets of the cluster. Capability: secret(NAME) or secret(NAMESPACE/NAME).
package secrets

// Get is all entries of a Secret; nil where it does not exist. The name is as in the grant. The error is a
// *plugin.HostError.
func Get(name string) (map[string][]byte, error) { return get(name) }
