"""Why a call gave no answer, and why the host did not do what a plugin asked for: the contract's variants as exceptions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One field that the user must correct."""

    field: str
    """Path of the field, as ``kubectl explain`` takes it: ``spec.algorithm.settings[0]``."""
    value: str
    """The offending value as the user wrote it; empty where the field is missing."""
    reason: str
    """What is wrong, and what would be right."""


class Fault(Exception):
    """Why a call gave no answer. Raise one of the three below; the text is shown to the user."""


class Invalid(Fault):
    """The user must change the object. Not called again until it changes."""

    def __init__(self, *errors: FieldError):
        if not errors:
            raise ValueError("Invalid needs at least one FieldError")
        super().__init__("; ".join(f"{error.field}: {error.reason}" for error in errors))
        self.errors = errors


class Retry(Fault):
    """Something is not ready yet. Called again after ``after_ms`` milliseconds; ``reason`` is shown meanwhile."""

    def __init__(self, after_ms: int, reason: str):
        super().__init__(reason)
        self.after_ms = after_ms
        self.reason = reason


class Failed(Fault):
    """The plugin cannot go on. Called again with the kernel's own backoff."""


class HostError(Exception):
    """Why the host did not do what the plugin asked for.

    One that a plugin lets pass ends the call: :class:`Unavailable` as a :class:`Retry`, any other as :class:`Failed`.
    """


class Denied(HostError):
    """No grant covers it; the text names the grant that would. Asking again is of no use."""


class InvalidRequest(HostError):
    """The request makes no sense: a malformed URL, a key that is too long."""


class Conflict(HostError):
    """Something else was written since the version that the request named."""


class TooLarge(HostError):
    """What was asked for is larger than ``limit`` bytes."""

    def __init__(self, limit: int):
        super().__init__(f"larger than {limit} bytes")
        self.limit = limit


class Unavailable(HostError):
    """It cannot be had now: no connection, no answer in time. It may be asked for again."""
