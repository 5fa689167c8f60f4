#!/usr/bin/env bash
# Runs every fuzz target, or those named, for SECONDS_EACH (600) seconds each, and fails at the end where any found
# something. Usage: fuzz.sh [TARGET...]. What was found lies in fuzz/artifacts/TARGET; to see it again:
#   RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none TARGET fuzz/artifacts/TARGET/FILE
# New inputs go to fuzz/grown/TARGET, beside the seeds in fuzz/corpus/TARGET, which are committed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-600}
command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing; install it: cargo install --locked cargo-fuzz" >&2; exit 1; }
# The coverage that the fuzzer needs is behind an unstable flag of the compiler.
export RUSTC_BOOTSTRAP=1
# The crates forbid unsafe code: what there is to find are panics, overflows, loops and memory without bound, which need
# no sanitizer.
options=(--sanitizer none)
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build "${options[@]}"
failed=()
for target in "${targets[@]}"; do
  echo "fuzz.sh: $target for $seconds s" >&2
  seeds=("fuzz/grown/$target" "fuzz/corpus/$target")
  # The plugins themselves, which are too large to be there twice.
  [ "$target" != component ] || seeds+=(plugins/dist/blobs/sha256)
  mkdir -p "fuzz/grown/$target"
  cargo fuzz run "${options[@]}" "$target" "${seeds[@]}" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz.sh: findings in ${failed[*]}; see fuzz/artifacts" >&2; exit 1; }
