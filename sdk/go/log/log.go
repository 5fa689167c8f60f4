// Package log writes lines to the kernel's log. The host adds the plugin's and the object's identity, and limits rate and
// length. Standard output works too, as info, and standard error as warn.
package log

// Trace is for whoever debugs the plugin itself.
func Trace(message string) { write(0, message) }

// Debug is for whoever asks why a decision was made.
func Debug(message string) { write(1, message) }

// Info is what an operator may want to see.
func Info(message string) { write(2, message) }

// Warn is for what is odd and was handled.
func Warn(message string) { write(3, message) }

// Error is for what is wrong. Tell the user as well, with a fault or an event.
func Error(message string) { write(4, message) }
