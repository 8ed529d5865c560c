"""What can go wrong: one class for each exit code of the command line, each with the sentence that it would print."""

from __future__ import annotations

__all__ = [
    "BugError",
    "DataError",
    "InputOutputError",
    "NotFittedError",
    "PermissionDeniedError",
    "SettingsError",
    "StrataError",
    "TryAgainError",
    "UnavailableError",
]


class StrataError(Exception):
    """The engine said no. The message names the file, row, column or key at fault, and what to do.

    Attributes
    ----------
    exit_code : int
        What the command line would end with.
    """

    exit_code: int = 70


class SettingsError(StrataError, ValueError):
    """A setting, or several together, cannot be honoured."""

    exit_code = 78


class DataError(StrataError, ValueError):
    """The data are not what they should be."""

    exit_code = 65


class UnavailableError(StrataError):
    """A file, a place or a worker is not there."""

    exit_code = 69


class InputOutputError(StrataError, OSError):
    """Reading or writing failed; a full disk is told as such."""

    exit_code = 74


class TryAgainError(StrataError):
    """Somebody else is at work at the same place."""

    exit_code = 75


class PermissionDeniedError(StrataError, PermissionError):
    """The place or the file is not ours to read or write."""

    exit_code = 77


class BugError(StrataError):
    """A fault of the engine. Please report it."""

    exit_code = 70


class NotFittedError(StrataError, ValueError, AttributeError):
    """The model was not fitted or loaded yet."""

    exit_code = 78


_KINDS: dict[str, type[StrataError]] = {
    "usage": SettingsError,
    "config": SettingsError,
    "bad_data": DataError,
    "unavailable": UnavailableError,
    "io": InputOutputError,
    "try_again": TryAgainError,
    "permission": PermissionDeniedError,
    "bug": BugError,
}


def of(kind: str, exit_code: int, message: str) -> BaseException:
    """The exception of a failure of the engine."""
    if kind == "interrupted":
        return KeyboardInterrupt(message)
    error = _KINDS.get(kind, BugError)(message)
    error.exit_code = exit_code
    return error
