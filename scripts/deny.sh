#!/usr/bin/env bash
# Checks what Purlin is built from, as deny.toml says: licenses, sources, bans, and RustSec's advisories where their
# database can be fetched. Usage: deny.sh
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-deny >/dev/null || { echo "cargo-deny is missing; install it: cargo install --locked cargo-deny" >&2; exit 1; }
cargo deny --locked check bans licenses sources
if said=$(cargo deny --locked fetch db 2>&1); then
  cargo deny --locked check advisories
else
  echo "deny: advisories SKIPPED: their database could not be fetched: $(grep -m1 -i 'error' <<<"$said")" >&2
fi
