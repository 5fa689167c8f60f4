package plugin

import "encoding/json"

// Context is what a pure function cannot know by itself.
type Context struct {
	// NowMs is Unix time in milliseconds. Take the time from here and nowhere else.
	NowMs uint64
	// Seed is the same for every call about the same object.
	Seed uint64
	// ConfigJSON is Plugin.spec.config; {} where there is none.
	ConfigJSON string
}

// Config parses Plugin.spec.config, which fits the manifest's configSchema, into a value of the plugin's own.
func (c Context) Config(into any) error {
	return json.Unmarshal([]byte(c.ConfigJSON), into)
}

// Setting is a name, and a value as the user wrote it: a setting of an algorithm, or a label.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
