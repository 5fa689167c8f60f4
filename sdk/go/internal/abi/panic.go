package abi

import (
	"fmt"
	"os"
	"runtime/debug"

	"purlin.dev/plugin/log"
)

// Panics puts the text of a panic into the log before it becomes a trap, which has none. Deferred by each export.
func Panics() {
	if value := recover(); value != nil {
		log.Error(fmt.Sprintf("panic: %v\n%s", value, debug.Stack()))
		// Not a panic again: the runtime would print all that a second time, word by word.
		os.Exit(2)
	}
}
