#!/usr/bin/env bash
# The main job on real input: builds Purlin, starts it, applies an unmodified Katib experiment and follows it to its end.
# State goes to .purlin/demo in the checkout, and is removed at the start of each run.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PURLIN_DEMO_PORT:-7443}
data=.purlin/demo
for tool in cargo python3 kubectl; do
  command -v "$tool" >/dev/null || { echo "demo: '$tool' is needed and was not found on the PATH" >&2; exit 1; }
done

echo "== building (the first time takes some minutes)"
cargo build --locked --release -p purlin
purlin=${CARGO_TARGET_DIR:-target}/release/purlin
echo "== preparing the training program's Python environment"
examples/digits/setup.sh

rm -rf "$data"
mkdir -p "$data"
echo "== purlin up"
"$purlin" up --data-dir "$data/state" --port "$port" --image-map examples/digits/image-map.yaml > "$data/up.log" 2>&1 &
up=$!
trap 'kill -INT $up 2>/dev/null; wait $up 2>/dev/null || true' EXIT
until grep -q '^ready' "$data/up.log"; do
  kill -0 $up 2>/dev/null || { cat "$data/up.log" >&2; exit 1; }
  sleep 0.1
done
cat "$data/up.log"
export KUBECONFIG=$data/state/kubeconfig

echo "== kubectl apply -f tests/manifests/katib-random.yaml"
kubectl apply -f tests/manifests/katib-random.yaml
started=$(date +%s)
while :; do
  status=$(kubectl get experiments.kubeflow.org random -n kubeflow \
    -o jsonpath='{range .status.conditions[?(@.status=="True")]}{.type} {end}{.status.trialsSucceeded}' 2>/dev/null || true)
  printf '\r   %3ds  %-60s' $(($(date +%s) - started)) "$status"
  case $status in *Succeeded*) break ;; *Failed*) echo; kubectl describe experiments.kubeflow.org random -n kubeflow; exit 1 ;; esac
  [ $(($(date +%s) - started)) -lt 600 ] || { echo; echo "demo: the experiment did not end in 10 minutes" >&2; exit 1; }
  sleep 1
done
echo
kubectl get experiments.kubeflow.org -n kubeflow
kubectl get trials.kubeflow.org -n kubeflow
echo "== best trial"
kubectl get experiments.kubeflow.org random -n kubeflow -o jsonpath='{.status.currentOptimalTrial}'
echo
