#!/usr/bin/env bash
# Runs a command with a real kube-apiserver beside it, named to it by PURLIN_TEST_KUBECONFIG. Usage: with.sh COMMAND...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap '"$here/stop.sh" "$dir"; rm -rf "$dir"' EXIT
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# Another checkout's tests may run on this host. Three ports in a row are used.
port=${PURLIN_REAL_PORT:-16443}
while [ -z "${PURLIN_REAL_PORT:-}" ] && { taken "$port" || taken "$((port + 1))" || taken "$((port + 2))"; }; do
  port=$((port + 3))
done
"$here/start.sh" "$dir" "$port"
PURLIN_TEST_KUBECONFIG=$dir/kubeconfig "$@"
