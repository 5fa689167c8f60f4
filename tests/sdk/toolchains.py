"""What a language's own tools must be there for its plugins to be built, and how long each step took."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

# The one that is installed beside rustup where rustup cannot fetch a target.
DEBIAN_RUSTC = "/usr/bin/rustc"

# Seconds by language and what was done; printed at the end.
STEPS = {}


@contextlib.contextmanager
def step(language, name):
    """Times what is done in the block."""
    started = time.monotonic()
    yield
    STEPS[language, name] = STEPS.get((language, name), 0) + time.monotonic() - started


def version(*command):
    """The first two numbers that a tool prints for its version, or none where it cannot be run."""
    if not shutil.which(command[0]):
        return None
    # Go may not fetch another toolchain than the one that is installed.
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GOTOOLCHAIN": "local"})
    found = re.search(r"(\d+)\.(\d+)", said.stdout)
    return found and tuple(map(int, found.groups()))


def rustlib(rustc):
    """Where a compiler has its targets and the source of std."""
    if not shutil.which(rustc):
        return pathlib.Path("/nowhere")
    said = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True)
    return pathlib.Path(said.stdout.strip()) / "lib/rustlib"


def missing(language):
    """Why plugins in a language cannot be built here; `None` where they can."""
    if language == "go" and (version("go", "version") or (0, 0)) < (1, 24):
        return "Go 1.24 or newer is not installed"
    if language == "js":
        if (version("node", "--version") or (0, 0)) < (20, 0):
            return "Node.js 20 or newer is not installed"
        if not shutil.which("npm"):
            return "npm is not installed"
    if language == "rust" and "PURLIN_WASM_RUSTC" not in os.environ:
        if not (rustlib("rustc") / "wasm32-unknown-unknown").is_dir():
            if not (rustlib(DEBIAN_RUSTC) / "src/rust/library/std").is_dir():
                return "neither rustup's wasm32-unknown-unknown nor Debian's rustc-web and rust-web-src are installed"
            os.environ["PURLIN_WASM_RUSTC"] = DEBIAN_RUSTC
    return None


def need(language):
    """Skips a test whose language cannot be built; on CI nothing may be left out, so there it fails."""
    reason = missing(language)
    if reason and os.environ.get("CI"):
        pytest.fail(f"{language}: {reason}, and CI tests all languages")
    if reason:
        pytest.skip(f"{language}: {reason}")
