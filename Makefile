# What a person types. `make help` lists it.
# PURLIN_CACHE keeps what takes long to make: virtual environments, kube-apiserver and etcd for comparison.

TARGET ?= $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PURLIN_BIN ?= $(abspath $(TARGET))/debug/purlin
export PURLIN_BIN

.PHONY: help build demo test lint unit plugins plugins-check plugins-unit e2e e2e-cluster conformance faults faults-short hostile supply console sdk serving serving-cluster serving-long cluster cluster-short bench deny fuzz

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the binary (debug)
	cargo build --locked -p purlin

demo: ## Build Purlin and run its main job on real input: a Katib experiment, unmodified
	scripts/demo.sh

test: lint unit plugins-unit plugins-check e2e conformance faults-short hostile supply console sdk serving cluster-short e2e-cluster ## All tests that CI runs
	@echo "all tests passed"

lint: ## Formatting and lints, as CI demands them
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo fmt --all --check --manifest-path plugins/Cargo.toml
	cargo clippy --locked --workspace --all-targets --manifest-path plugins/Cargo.toml -- -D warnings
	cargo fmt --all --check --manifest-path fuzz/Cargo.toml

unit: ## Tests of the host crates, some against a real kube-apiserver
	tests/serving/build.sh
	library=$$(scripts/onnxruntime.sh) && PURLIN_ONNXRUNTIME=$$library tests/real/with.sh cargo test --locked --workspace

plugins: ## Build the plugins and write plugins/dist
	scripts/plugins.sh build

plugins-check: build ## Fail if the committed plugins are not what their source builds
	scripts/plugins.sh check

plugins-unit: ## Tests of the SDK and of the plugins' logic, native
	cargo test --locked --manifest-path plugins/Cargo.toml --workspace

e2e: build ## kubectl and the upstream Python clients against `purlin up`
	tests/run.sh e2e

e2e-cluster: build ## The same against a real kube-apiserver with `purlin run` and `purlin node`
	tests/run.sh e2e-cluster

faults-short: build ## A few SIGKILLs in the middle of an experiment
	tests/run.sh faults-short

faults: build ## Fifty of them
	tests/run.sh faults

sdk: build ## Plugins in four languages, from a new project to a search
	tests/run.sh sdk

cluster-short: build ## Replicas of `purlin run` against a real kube-apiserver, and a few of their faults
	tests/run.sh cluster-short

cluster: build ## All faults, and a thousand experiments while replicas are killed
	tests/run.sh cluster

serving: build ## Models: upstream's client and the protocols' own clients against the gateway
	tests/run.sh serving

serving-cluster: build ## The same against a real kube-apiserver with `purlin run` and `purlin node`
	tests/run.sh serving-cluster

serving-long: build ## Ten minutes of load while services change and servers are killed
	tests/run.sh serving-long

hostile: build ## Plugins that misbehave
	tests/run.sh hostile

supply: build ## Signatures with cosign, somebody else's registry, bundles, indexes
	tests/run.sh supply

console: build ## The console in Chromium
	tests/run.sh console

conformance: build ## The same requests to `purlin up` and to a real kube-apiserver
	tests/run.sh conformance

deny: ## Licenses, sources and advisories of all dependencies; needs cargo-deny
	scripts/deny.sh

fuzz: ## Fuzz targets, ten minutes each or SECONDS=...; needs cargo-fuzz
	SECONDS_EACH=$(or $(SECONDS),600) scripts/fuzz.sh

bench: ## Ratios against peers; see tests/bench
	cargo build --locked --release -p purlin -p purlin-bench-paced -p purlin-bench-plugin-call
	PURLIN_BIN=$(abspath $(TARGET))/release/purlin tests/run.sh bench
