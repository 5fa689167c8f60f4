// Package plugin is what every Purlin plugin in Go shares: the context of a call, and the faults that end one.
//
// A plugin is a WebAssembly component that serves one stage: a tuner (package tuner) says which points a search should
// try next, a dialect (package dialect) translates somebody's Kubernetes kinds into others. It is a main package:
//
//	type Midpoint struct{ tuner.Base }
//
//	func (Midpoint) Algorithms() []string { return []string{"midpoint"} }
//	func (Midpoint) Suggest(search tuner.Search, count int) ([]tuner.Suggestion, error) { ... }
//
//	func init() { tuner.Export(Midpoint{}) }
//	func main() {}
//
// `purlin plugin build` compiles it with the Go compiler itself (GOOS=wasip1, -buildmode=c-shared) and makes it a
// component.
//
// Rules that a plugin lives by: it is pure (time is Context.NowMs, randomness is Random from Context.Seed, the same
// request gives the same answer), it is stateless (each call gets a fresh instance), and it reports what the user must
// correct by returning *Invalid. There are no files and no network: time.Now begins in 1970, os.Getenv finds nothing,
// standard output goes to the log.
//
// Nothing here needs WebAssembly: test a plugin with go test. Package cases reads case files.
package plugin
