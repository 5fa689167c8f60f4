#!/usr/bin/env bash
# Builds the plugins: Rust to wasm32, to components, to the OCI image layouts that are committed.
#
#   scripts/plugins.sh toolchain   says how this machine builds for wasm32, and fails if it cannot
#   scripts/plugins.sh build       builds all plugins and writes plugins/dist and plugins/testing/dist
#   scripts/plugins.sh modules DIR builds the core modules only, in the target folder DIR
#   scripts/plugins.sh check       builds them again elsewhere and fails if the committed ones are not what comes out
#
# The result does not depend on where the sources, the home folder or the build folder lie. It does depend on the
# compiler: `check` says which one it used and which one made what is committed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
target=wasm32-unknown-unknown
first_party=(dialect-katib dialect-kserve dialect-modelmesh explainer-shap monitor-drift runtime-huggingface runtime-lightgbm runtime-onnx runtime-sklearn runtime-xgboost tuner-random)
testing=(echo hostile probe runtime-hostile transformer-scale tuner-relay)

die() { echo "plugins.sh: $*" >&2; exit 1; }

# Sets rustc, cargo_args and std_source, for the first way that this machine has.
pick_toolchain() {
    local sysroot
    if sysroot=$(rustc --print sysroot 2>/dev/null) && [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
        way=rustup
        rustc=$(command -v rustc)
        cargo_args=()
        std_source=$sysroot/lib/rustlib/src/rust
        linker=
        return
    fi
    rustc=/usr/bin/rustc
    [ -x "$rustc" ] || die "no toolchain for $target. Run 'rustup target add $target', or install Debian's rustc-web, rust-web-src and a rustup toolchain (for rust-lld)."
    std_source=$("$rustc" --print sysroot)/lib/rustlib/src/rust
    [ -d "$std_source/library/std" ] || die "$rustc is here without the source of std ($std_source/library). Install Debian's rust-web-src."
    # Debian's rustc has no linker for wasm. It must be rust-lld: as wasm-ld the same program takes other arguments.
    linker=$(find -L "${RUSTUP_HOME:-$HOME/.rustup}/toolchains" -path '*/lib/rustlib/*/bin/rust-lld' 2>/dev/null | sort | head -n 1)
    [ -n "$linker" ] || linker=$(find -L "$("$rustc" --print sysroot)/lib/rustlib" -path '*/bin/rust-lld' 2>/dev/null | head -n 1)
    [ -n "$linker" ] || die "no rust-lld found in ${RUSTUP_HOME:-$HOME/.rustup}/toolchains. Install a rustup toolchain."
    way=build-std
    # std is built from the compiler's own source, so the compiler must be the one that the source belongs to.
    cargo_args=(-Zbuild-std=std,panic_abort)
}

describe_toolchain() {
    echo "$("$rustc" --version), $way"
}

# The folder of unpacked crates. Its name holds that of the registry they came from, which is another with a mirror.
registry_sources() { find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | head -n 1; }

# Builds the core modules of all plugins into the target folder $1.
build_modules() {
    local packages=() name
    for name in "${first_party[@]}" "${testing[@]}"; do packages+=(-p "$(package_of "$name")"); done
    # Paths end up in panic messages. Each root is given a name that is the same everywhere.
    local flags=(
        "--remap-path-prefix=$root=/purlin"
        "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        "--remap-path-prefix=$(registry_sources)=/registry"
        "--remap-path-prefix=$std_source=/rust"
        "--remap-path-prefix=$1=/target"
        # A plugin has no system to draw random bytes from: who wants some brings them (runtime-huggingface/src/entropy.rs).
        '--cfg=getrandom_backend="custom"'
    )
    local separator=$'\x1f' encoded
    encoded=$(IFS=$separator; echo "${flags[*]}")
    (
        cd "$root/plugins"
        env -u RUSTFLAGS RUSTC="$rustc" RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER= CARGO_INCREMENTAL=0 \
            CARGO_ENCODED_RUSTFLAGS="$encoded" ${linker:+CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"} \
            cargo build --locked --release --target "$target" --target-dir "$1" "${cargo_args[@]}" "${packages[@]}"
    )
}

# The crate in plugins/$1 or plugins/testing/$1.
folder_of() {
    if [ -d "$root/plugins/$1" ]; then echo "$root/plugins/$1"; else echo "$root/plugins/testing/$1"; fi
}

package_of() { sed -n 's/^name = "\(.*\)"$/\1/p' "$(folder_of "$1")/Cargo.toml" | head -n 1; }

# Packs the modules in the target folder $1 into the layout $2; the rest are plugins.
pack() {
    local modules=$1/$target/release layout=$2 arguments=() name
    shift 2
    for name in "$@"; do
        arguments+=("$modules/$(package_of "$name" | tr - _).wasm" "$(folder_of "$name")/plugin.yaml")
    done
    cargo run --quiet --locked --manifest-path "$root/Cargo.toml" -p purlin-plugin-pack -- "$layout" "${arguments[@]}"
}

build_into() {
    local target_dir=$1 dist=$2 testing_dist=$3
    build_modules "$target_dir"
    pack "$target_dir" "$dist" "${first_party[@]}"
    pack "$target_dir" "$testing_dist" "${testing[@]}"
}

# One line a plugin: its reference and digest, from a layout's index.
digests() {
    python3 - "$1" <<'PY'
import json, os, sys
path = os.path.join(sys.argv[1], "index.json")
if os.path.exists(path):
    with open(path) as file:
        for manifest in json.load(file)["manifests"]:
            print(manifest["annotations"]["org.opencontainers.image.ref.name"], manifest["digest"])
PY
}

case ${1:-} in
toolchain)
    pick_toolchain
    describe_toolchain
    ;;
build)
    pick_toolchain
    build_into "${CARGO_TARGET_DIR:-$root/plugins/target}" "$root/plugins/dist" "$root/plugins/testing/dist"
    describe_toolchain >"$root/plugins/toolchain"
    digests "$root/plugins/dist"
    digests "$root/plugins/testing/dist"
    ;;
modules)
    pick_toolchain
    build_modules "${2:?a target folder}"
    ;;
check)
    pick_toolchain
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    # Not where plugins are built otherwise, so that nothing of that is used. Kept for the standard library and what comes from
    # the registry; our own crates are built anew where they or their place have changed.
    build_into "${PURLIN_CACHE:-$HOME/.cache/purlin}/plugins-check" "$temporary/dist" "$temporary/testing"
    for name in dist testing; do
        committed=$root/plugins/dist
        [ "$name" = dist ] || committed=$root/plugins/testing/dist
        if ! diff <(digests "$committed") <(digests "$temporary/$name") >"$temporary/difference"; then
            {
                echo "What is committed in ${committed#"$root/"} (<) is not what the sources build (>):"
                cat "$temporary/difference"
                echo "committed: built with $(cat "$root/plugins/toolchain" 2>/dev/null || echo an unknown compiler)"
                echo "here:      built with $(describe_toolchain)"
                echo "With the same compiler, run 'scripts/plugins.sh build' and commit the result."
            } >&2
            exit 1
        fi
    done
    echo "The committed plugins are what the sources build ($(describe_toolchain))."
    ;;
*)
    sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
