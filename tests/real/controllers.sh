#!/usr/bin/env bash
# Starts the controllers that a real cluster has beside the API server that start.sh started in DIR: garbage collection,
# namespaces and ServiceAccounts, and with JOBS=1 Jobs. Adds to DIR/pids. Usage: controllers.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$1" && pwd)
cache=${PURLIN_CACHE:-$HOME/.cache/purlin}
"$here/build.sh" controllers
controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller
[ -z "${JOBS:-}" ] || controllers=$controllers,job-controller
"$cache/bin/kube-controller-manager" --kubeconfig "$dir/kubeconfig" --leader-elect=false --secure-port 0 \
  --controllers "$controllers" --use-service-account-credentials=false > "$dir/controllers.log" 2>&1 &
echo $! >> "$dir/pids"
