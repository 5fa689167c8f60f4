#!/usr/bin/env bash
# Runs a command until it succeeds, at most COUNT times, and says which attempt failed. Usage: attempts.sh COUNT COMMAND...
set -uo pipefail
count=$1
shift
for attempt in $(seq "$count"); do
  "$@" && exit 0
  echo "attempts.sh: attempt $attempt of $count failed: $*" >&2
done
exit 1
