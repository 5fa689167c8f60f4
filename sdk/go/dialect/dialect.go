// Package dialect is the stage that translates somebody's kinds into kinds that the cluster already reconciles.
package dialect

import "purlin.dev/plugin"

// Object is one Kubernetes object, parsed.
type Object = map[string]any

// Selector is objects that a parent's sync must see although the parent does not own them.
type Selector struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Namespace nil is all namespaces for a cluster-scoped parent, and the parent's own otherwise.
	Namespace *string `json:"namespace,omitempty"`
	// Names is empty for every name.
	Names []string `json:"names,omitempty"`
	// Labels is in kubectl's syntax (app=web,tier!=cache); empty for every label.
	Labels string `json:"labels,omitempty"`
}

// Severity says whether a person may have to act.
type Severity uint8

// In the order of the contract.
const (
	Normal Severity = iota
	Warning
)

// MarshalText writes it as case files have it.
func (s Severity) MarshalText() ([]byte, error) {
	if s == Warning {
		return []byte("warning"), nil
	}
	return []byte("normal"), nil
}

// Event is a Kubernetes Event about the parent.
type Event struct {
	Severity Severity `json:"severity"`
	// Reason is UpperCamelCase.
	Reason string `json:"reason"`
	// Message is one sentence for a person, at most 1024 bytes.
	Message string `json:"message"`
}

// Request is what was observed.
type Request struct {
	Context plugin.Context
	// Parent is the object to translate, with its current status.
	Parent Object
	// Children are the objects that it owns, of the manifest's child kinds.
	Children []Object
	// Related is what the dialect's Related asked for.
	Related []Object
}

// Response is what should be.
type Response struct {
	// Children is every child that should exist, with the fields that the plugin decides and no others.
	Children []Object `json:"children"`
	// Status is the parent's whole new status; nil leaves it as it is.
	Status Object `json:"status,omitempty"`
	// RequeueAfterMs asks for another call after so many milliseconds even if nothing changes.
	RequeueAfterMs *uint64 `json:"requeueAfterMs,omitempty"`
	Events         []Event `json:"events,omitempty"`
}

// Dialect is a plugin that owns kinds and translates their objects. Embed Base for what it leaves out.
type Dialect interface {
	// Check says whether the configuration can be used and what the plugin depends on can be reached.
	Check(context plugin.Context) error
	// Related is what Sync must see beside the parent and its children.
	Related(context plugin.Context, parent Object) ([]Selector, error)
	// Sync is the desired state, from the observed state.
	Sync(request Request) (Response, error)
	// Finalize is the same while the parent is being deleted.
	Finalize(request Request) (Response, error)
}

// Base is a dialect that checks nothing, asks for nothing, and lets every child go.
type Base struct{}

// Check is nil.
func (Base) Check(plugin.Context) error { return nil }

// Related asks for nothing.
func (Base) Related(plugin.Context, Object) ([]Selector, error) { return nil, nil }

// Finalize leaves nothing.
func (Base) Finalize(Request) (Response, error) { return Response{}, nil }
