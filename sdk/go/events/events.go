// Package events publishes CloudEvents (version 1.0) to whoever listens. Capability: events(TYPE).
package events

import "purlin.dev/plugin"

// Event is what is published. The host adds the source (the plugin) and the time.
type Event struct {
	// ID is unique for this plugin; the same id is the same event, sent again.
	ID string
	// Type is such as com.example.job.done.
	Type string
	// Subject is what it is about, within the plugin; nil for none.
	Subject *string
	// DataContentType is the media type of Data.
	DataContentType *string
	Data            []byte
	// Extensions have names of lower-case letters and digits.
	Extensions []plugin.Setting
}

// Publish gives an event to the host. Once it returns without an error (a *plugin.HostError), the receiver has accepted
// the event.
func Publish(event Event) error { return publish(event) }
