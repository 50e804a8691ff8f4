"""The words of a study on the tiny data, and what it left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from tiny import words_for

TRIALS = 5


def words(data: Path, runs: Path, *more: str) -> list[str]:
    settings = words_for(data, runs)
    del settings["train.max_steps"], settings["train.epochs"]
    return [*(f"{key}={word}" for key, word in settings.items()), "budget.steps=4", *more]


def showdown(data: Path, runs: Path, *more: str) -> list[str]:
    """The words of the study ``showdown``, which tunes the learning rate."""
    return [word for word in words(data, runs, *more) if not word.startswith("train.lr=")]


def result(runs: Path) -> dict[str, Any]:
    (path,) = runs.glob("studies/*/study.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def trials(runs: Path) -> pd.DataFrame:
    (path,) = runs.glob("studies/*/trials.parquet")
    return pd.read_parquet(path)
