#!/usr/bin/env bash
# Makes a Python virtual environment for a requirements file, once, and prints its path. The environment lives in
# $PURLIN_CACHE/venvs (default ~/.cache/purlin/venvs), named by the interpreter's version and the requirements' hash: a
# changed requirement makes another one, an unchanged one costs nothing. What the same file asked for before is removed once
# nobody has used it for a day. Usage: venv.sh REQUIREMENTS
set -euo pipefail
requirements=$1
python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "venv: '$python' was not found on the PATH; install Python 3.9 or newer" >&2; exit 1; }
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
hash=$(sha256sum < "$requirements" | cut -c1-16)
base=${PURLIN_CACHE:-$HOME/.cache/purlin}/venvs
venv=$base/$version-$hash
owner=$(basename "$(dirname "$(realpath "$requirements")")")/$(basename "$requirements")
if [ ! -e "$venv/.complete" ]; then
  mkdir -p "$base"
  exec 9> "$venv.lock"
  flock 9  # two test suites started together must not build the same folder
  if [ ! -e "$venv/.complete" ]; then
    rm -rf "$venv"
    echo "venv: installing $requirements" >&2
    "$python" -m venv "$venv" >&2 || {
      echo "venv: Python's venv module does not work here (on Debian: apt-get install python3-venv)" >&2; exit 1; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    echo "$owner" > "$venv/.owner"
    find "$base" -mindepth 2 -maxdepth 2 -name .complete -mmin +1440 -not -path "$venv/*" | while read -r old; do
      old=$(dirname "$old")
      [ "$(cat "$old/.owner" 2>/dev/null)" != "$owner" ] || rm -rf "$old" "$old.lock"
    done
  fi
fi
touch "$venv/.complete"
echo "$venv"
