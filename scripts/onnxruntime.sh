#!/usr/bin/env bash
# Prints the path of the ONNX Runtime library that the tests use: $PURLIN_ONNXRUNTIME, or the one in the Python package of their
# environment.
set -euo pipefail
[ -z "${PURLIN_ONNXRUNTIME:-}" ] || { echo "$PURLIN_ONNXRUNTIME"; exit; }
here=$(cd "$(dirname "$0")" && pwd)
venv=$("$here/venv.sh" "$here/../tests/serving/requirements.txt")
found=$(find "$venv"/lib/python3*/site-packages/onnxruntime/capi -name 'libonnxruntime.*' | head -n 1)
[ -n "$found" ] || { echo "onnxruntime: its Python package in $venv has no library" >&2; exit 1; }
echo "$found"
