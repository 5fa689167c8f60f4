#!/usr/bin/env bash
# Writes what in deploy/ is generated, by $PURLIN_BIN (default target/debug/purlin): CRDs, and the rights of the kernel with
# the plugins that come with it. With `check` nothing is written; it fails where the files differ.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${PURLIN_BIN:-target/debug/purlin}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
note="# Written by scripts/deploy.sh; do not edit."
plugins=()
for blob in plugins/dist/blobs/sha256/*; do
  # The components among the layout's blobs.
  [ "$(head -c 4 "$blob" | od -An -tx1 | tr -d ' ')" = 0061736d ] && plugins+=(--plugin "$blob")
done
{ echo "$note"; "$bin" crds; } > "$out/crds.yaml"
{ echo "$note"; "$bin" rbac "${plugins[@]}"; } > "$out/rbac.yaml"
sed 's/purlin-system/{{ .Release.Namespace }}/' "$out/rbac.yaml" > "$out/chart-rbac.yaml"
install_or_check() {
  if [ "${mode:-}" = check ]; then
    diff -u "$2" "$1" >&2 || { echo "deploy: $2 is not what purlin prints; run scripts/deploy.sh" >&2; exit 1; }
  else
    cp "$1" "$2"
  fi
}
mode=${1:-}
install_or_check "$out/crds.yaml" deploy/base/crds.yaml
install_or_check "$out/rbac.yaml" deploy/base/rbac.yaml
install_or_check "$out/crds.yaml" deploy/chart/crds/crds.yaml
install_or_check "$out/chart-rbac.yaml" deploy/chart/templates/rbac.yaml
