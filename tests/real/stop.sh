#!/usr/bin/env bash
# Stops what start.sh started in DIR: kube-apiserver first, which without its etcd would go on for a long time.
set -uo pipefail
[ -e "$1/pids" ] || exit 0
for pid in $(tac "$1/pids"); do
  kill "$pid" 2>/dev/null || continue
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || continue 2
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null
done
exit 0
