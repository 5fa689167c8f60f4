package abi

import (
	"fmt"
	"runtime/debug"

	"purlin.dev/plugin/log"
)

// Panics puts the text of a panic into the log before it becomes a trap, which has none. Deferred by each export.
func Panics() {
	if value := recover(); value != nil {
		log.Error(fmt.Sprintf("panic: %v\n%s", value, debug.Stack()))
		panic(value)
	}
}
