#!/usr/bin/env bash
# Builds cosign and the distribution registry from their Go modules into ~/.cache/purlin/bin, once: the programs that
# what Purlin signs, pushes and pulls must agree with. About ten minutes the first time.
set -euo pipefail
cosign=v2.6.5 registry=v3.0.0
cache=${PURLIN_CACHE:-$HOME/.cache/purlin}
mkdir -p "$cache/bin"
build() { # NAME MODULE@VERSION
  [ -x "$cache/bin/$1" ] && return
  command -v go >/dev/null || { echo "supply: 'go' is not installed; install Go 1.26 or newer" >&2; exit 1; }
  echo "building $2" >&2
  GOBIN=$cache/bin CGO_ENABLED=0 go install -ldflags '-s -w' "$2"
}
build registry "github.com/distribution/distribution/v3/cmd/registry@$registry"
build cosign "github.com/sigstore/cosign/v2/cmd/cosign@$cosign"
