//go:build !wasip1

package log

import (
	"fmt"
	"os"
)

var levels = []string{"trace", "debug", "info", "warn", "error"}

// Outside a sandbox there is no host to write to.
func write(level uint32, message string) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", levels[level], message)
}
