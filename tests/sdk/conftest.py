"""Prints at the end how long each step took."""

from toolchains import STEPS


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("seconds of each step")
    for (language, name), seconds in STEPS.items():
        terminalreporter.line(f"{language:8}{name:48}{seconds:7.1f}")
