#!/usr/bin/env bash
# Builds kube-apiserver and etcd from their Go modules into ~/.cache/purlin/bin, once, and kubectl where the PATH has none.
# Several minutes the first time. With `controllers` as argument kube-controller-manager as well; with
# `helm` only that.
set -euo pipefail
kubernetes=v1.37.2 staging=v0.37.2 etcd=v3.7.3 helm=v3.21.1
cache=${PURLIN_CACHE:-$HOME/.cache/purlin}
mkdir -p "$cache/bin" "$cache/src/kubernetes" "$cache/src/etcd"
stamp=$cache/bin/.kube-apiserver-$kubernetes-etcd-$etcd
if [ "${1:-}" = helm ]; then
  [ -x "$cache/bin/helm" ] && exit 0
  command -v go >/dev/null || { echo "helm: 'go' is not installed; install Go 1.26 or newer" >&2; exit 1; }
  echo "building helm $helm" >&2
  GOBIN=$cache/bin CGO_ENABLED=0 exec go install "helm.sh/helm/v3/cmd/helm@$helm"
fi
have_kubectl() { command -v kubectl >/dev/null || [ -x "$cache/bin/kubectl" ]; }
have_controllers() { [ "${1:-}" != controllers ] || [ -x "$cache/bin/kube-controller-manager" ]; }
[ -e "$stamp" ] && have_kubectl && have_controllers "${1:-}" && exit 0
command -v go >/dev/null || { echo "real API server: 'go' is not installed; install Go 1.26 or newer" >&2; exit 1; }

echo "building kube-apiserver $kubernetes" >&2
cd "$cache/src/kubernetes"
mod=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
{
  echo "module purlin.local/kube-apiserver"
  grep -E '^go ' "$mod"
  echo "require k8s.io/kubernetes $kubernetes"
  # The staging repositories are named v0.0.0 inside Kubernetes' own go.mod and released under a version of their own.
  grep -oE '^\s+k8s.io/[a-z0-9-]+ v0\.0\.0$' "$mod" | awk -v v="$staging" '{print "replace", $1, "=>", $1, v}' | sort -u
} > go.mod
version=k8s.io/component-base/version
build() {
  CGO_ENABLED=0 go build -mod=mod -o "$cache/bin/$1" \
    -ldflags "-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37" \
    "k8s.io/kubernetes/cmd/$1"
}
[ -x "$cache/bin/kube-apiserver" ] && [ -e "$stamp" ] || build kube-apiserver
have_controllers "${1:-}" || build kube-controller-manager

have_kubectl || CGO_ENABLED=0 go build -mod=mod -o "$cache/bin/kubectl" \
  -ldflags "-X $version.gitVersion=$kubernetes" k8s.io/kubernetes/cmd/kubectl

echo "building etcd $etcd" >&2
cd "$cache/src/etcd"
[ -e go.mod ] || go mod init purlin.local/etcd 2>/dev/null
go get "go.etcd.io/etcd/server/v3@$etcd"
CGO_ENABLED=0 go build -mod=mod -o "$cache/bin/etcd" go.etcd.io/etcd/server/v3
touch "$stamp"
