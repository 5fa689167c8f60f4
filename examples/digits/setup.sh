#!/usr/bin/env bash
# Prepares what image-map.yaml names: the Python environment of mnist.py, as the link `.venv` beside this script.
# Safe to repeat; does nothing when the environment is there and its requirements are unchanged.
set -euo pipefail
cd "$(dirname "$0")"
venv=$(../../scripts/venv.sh requirements.txt)
ln -sfn "$venv" .venv
