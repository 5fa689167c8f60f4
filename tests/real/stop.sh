#!/usr/bin/env bash
# Stops what start.sh started in DIR.
set -uo pipefail
[ -e "$1/pids" ] && xargs -r kill < "$1/pids" 2>/dev/null
exit 0
