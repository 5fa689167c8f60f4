// Package http sends requests to servers. Capability: http(METHODS [SCHEME://]HOST[:PORT] [in RANGES]).
package http

import (
	"encoding/json"
	"strings"
)

// Method is a request's method.
type Method uint8

// In the order of the contract.
const (
	Get Method = iota
	Head
	Post
	Put
	Patch
	Delete
	Options
)

// Header is one line of a header.
type Header struct{ Name, Value string }

// Request is what to send.
type Request struct {
	Method Method
	// URL is absolute.
	URL     string
	Headers []Header
	Body    []byte
	// TimeoutMs gives up after so many milliseconds; nil is the call's own deadline.
	TimeoutMs *uint32
	// Redirects is how many to follow, at most 10. Each is a new request and must be granted too.
	Redirects uint32
}

// Response is an answer, whatever its status.
type Response struct {
	Status uint16
	// Headers have names in lower case, in the order in which they came.
	Headers []Header
	Body    []byte
	// URL is where the answer came from, after redirects.
	URL string
}

// Header is the first header of this name; empty where there is none.
func (r Response) Header(name string) string {
	for _, header := range r.Headers {
		if header.Name == strings.ToLower(name) {
			return header.Value
		}
	}
	return ""
}

// JSON parses the body.
func (r Response) JSON(into any) error { return json.Unmarshal(r.Body, into) }

// Send sends a request and waits for the answer. The error is a *plugin.HostError.
func Send(request Request) (Response, error) { return send(request) }
