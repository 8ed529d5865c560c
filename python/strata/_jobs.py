"""Job files of the command line, as models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strata import _engine, _job
from strata._progress import Progress
from strata._recommender import Recommender
from strata.errors import UnavailableError


def given(file: Path) -> dict[str, Any]:
    """What the file itself says, by paths of keys; the rest is the engine's to choose."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnavailableError(f"{file} is not there: give a folder that save() wrote, or a job file") from None
    return given_in(text, str(file.parent))


def given_in(text: str, folder: str = "") -> dict[str, Any]:
    """What the text of a job says itself, checked, its places beginning at a folder."""
    merged = json.loads(_engine.perform("config", text, folder))
    return {each["key"]: each["value"] for each in merged["settings"] if each["origin"].startswith("the call:")}


def run(file: Path, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Recommender:
    """Run the job with other settings, and give its model."""
    from strata.models import load

    job: _job.Job = {}
    for key, value in {**given, **settings}.items():
        _job.put(job, key, value)
    progress = Progress(None)
    try:
        _engine.perform("run", _job.toml(job), str(file.parent), progress)
    finally:
        progress.close()
    return load(file)
