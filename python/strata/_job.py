"""A job as a document: the sections and keys of ``docs/settings.md``, as a dictionary here and as TOML for the engine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from strata import _engine
from strata.errors import SettingsError

#: Sections by name, each a dictionary of keys; a section may hold a section.
Job = dict[str, Any]


def defaults() -> dict[str, str | None]:
    """The path of every setting and its default, as it would be written on a command line."""
    return {path: default for path, default, _ in _engine.keys()}


def put(job: Job, path: str, value: Any) -> None:
    """Set the key at ``path``, as in ``"output.recommend.top"``; ``None`` takes it away."""
    *sections, key = path.split(".")
    at: dict[str, Any] = job
    for section in sections:
        at = at.setdefault(section, {})
    if value is None:
        at.pop(key, None)
    else:
        at[key] = value


def copy(job: Mapping[str, Any]) -> Job:
    """Sections and keys anew; values are shared."""
    return {key: copy(value) if isinstance(value, Mapping) else value for key, value in job.items()}


def put_all(job: Job, settings: Mapping[str, Any]) -> None:
    """Set every key of a flat or nested dictionary; the engine refuses those that it does not know."""
    for path, value in settings.items():
        # `input.event_weights` and `tune.search` are tables that are values.
        if isinstance(value, Mapping) and path not in defaults():
            put_all(job, {f"{path}.{key}": inner for key, inner in value.items()})
        else:
            put(job, path, value)


def toml(job: Mapping[str, Any]) -> str:
    """The document as text.

    >>> print(toml({"model": {"rank": 8, "kind": "als"}, "input": {"files": ["a.parquet"]}}), end="")
    [model]
    rank = 8
    kind = "als"
    [input]
    files = ["a.parquet"]
    """
    lines: list[str] = []
    _section(job, "", lines)
    return "".join(line + "\n" for line in lines)


def _section(section: Mapping[str, Any], path: str, lines: list[str]) -> None:
    known = defaults()
    nested = []
    for key, value in section.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and below not in known:
            nested.append((key, below, value))
        else:
            lines.append(f"{_key(key)} = {_value(below, value)}")
    for _, below, value in nested:
        lines.append("[" + ".".join(_key(part) for part in below.split(".")) + "]")
        _section(value, below, lines)


def _key(key: str) -> str:
    return key if key.replace("_", "a").replace("-", "a").isalnum() and key.isascii() else _text(key)


def _text(text: str) -> str:
    # Strings of JSON are strings of TOML, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(path: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        # That of NumPy is one, too, and writes itself otherwise.
        return float.__repr__(value)
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, Mapping):
        each = (f"{_key(str(key))} = {_value(path, inner)}" for key, inner in value.items())
        return "{ " + ", ".join(each) + " }"
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return "[" + ", ".join(_value(path, inner) for inner in value) + "]"
    if hasattr(value, "tolist"):
        # A scalar or an array of NumPy.
        return _value(path, value.tolist())
    kind = type(value).__name__
    raise SettingsError(f"`{path}` is of the type {kind}: give text, a number, true or false, or a list of them")
