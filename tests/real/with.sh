#!/usr/bin/env bash
# Runs a command with a real kube-apiserver beside it, named to it by PURLIN_TEST_KUBECONFIG. Usage: with.sh COMMAND...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap '"$here/stop.sh" "$dir"; rm -rf "$dir"' EXIT
"$here/start.sh" "$dir" "${PURLIN_REAL_PORT:-16443}"
PURLIN_TEST_KUBECONFIG=$dir/kubeconfig "$@"
