package abi

import "purlin.dev/plugin"

// NoHost is the error of a capability that is used outside a sandbox without a stand-in.
func NoHost(name string) error {
	return &plugin.HostError{Kind: plugin.Denied, Text: "no host: this code runs outside a sandbox; give " + name + ".StandIn a function"}
}
