//go:build !wasip1

package tuner

// Export makes a tuner the plugin's. Call it once, in an init function of the main package. Outside WebAssembly it does
// nothing.
func Export(Tuner) {}
