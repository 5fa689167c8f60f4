//go:build !wasip1

package dialect

// Export makes a dialect the plugin's. Call it once, in an init function of the main package. Outside WebAssembly it does
// nothing.
func Export(Dialect) {}
