"""The result of a study as its directory keeps it: the question, the trials, the comparison of the final runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from bench.record.files import FileError, RecordFiles
from bench.record.schema import RETRIEVAL, SCHEMAS
from bench.record.shape import misfit, unusual

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA = 1  # of study.json
TRIALS = "trials.parquet"
COLUMNS = ("strategy", "number", "state", "value")  # of the trials; settings are the columns beside them


class Mean(TypedDict):
    """A metric of a row over its seeds, in percent, with its 95 % interval."""

    n: int
    mean: float
    low: float | None
    high: float | None


class FinalRow(TypedDict):
    """A row of the comparison of the final runs."""

    label: str
    commands: list[str]
    metrics: Mapping[str, Mean]
    cost: Mapping[str, float | None]
    before: Mapping[str, float | None]
    letters: str


class Finals(TypedDict):
    """The comparison of the final runs."""

    metric: str
    rows: list[FinalRow]
    best: int | None
    notes: list[str]


class Best(TypedDict):
    """The best trial of a search, by its value on dev."""

    value: float
    settings: Mapping[str, Any]


class _EveryArm(TypedDict):
    """What every strategy's part of a ``study.json`` has."""

    strategy: str
    trials: int
    complete: int
    pruned: int
    failed: int
    importances: Mapping[str, float]
    best: Best | None
    finals: Mapping[str, str]
    why: str


class StudyArm(_EveryArm, total=False):
    """One strategy's trials, counted, and the commands of its final runs.

    ``reasons`` say why trials failed, each with the number of trials. ``defaults`` says why the defaults have no final
    runs of their own. Older files have neither.
    """

    defaults: str
    reasons: Mapping[str, int]


class _Always(TypedDict):
    """What every ``study.json`` has."""

    schema: int
    name: str
    asks: str
    command: str
    selected_by: str | None
    logarithmic: list[str]
    split: str
    arms: list[StudyArm]
    comparison: Finals


class OneEffect(TypedDict):
    """What a setting of a grid does by itself (:class:`bench.compare.effects.Effect`)."""

    key: str
    value: Any
    instead_of: Any
    over: Mean


class StudyResult(_Always, total=False):
    """The content of ``study.json``; older files do not have ``effects``."""

    evaluation: str
    effects: list[OneEffect]


def final_commands(told: StudyResult) -> set[str]:
    """The commands of the final runs of a study."""
    return {command for row in told["comparison"]["rows"] for command in row["commands"]}


def results_in(files: RecordFiles) -> tuple[dict[str, StudyResult], list[FileError]]:
    """The results of all studies among the files by directory, and the errors of those that cannot be read."""
    found, errors = dict[str, StudyResult](), list[FileError]()
    for name in files.names("studies/*/study.json"):
        directory = name.removesuffix("/study.json")
        try:
            found[directory] = read_result(files, directory)
        except FileError as error:
            errors.append(error)
    return found, errors


def read_result(files: RecordFiles, directory: str) -> StudyResult:
    """``study.json`` of a study's ``directory`` (``studies/NAME``). Raises :class:`FileError` for a damaged one."""
    name = f"{directory}/study.json"
    try:
        told = json.loads(files.read(name))
    except (ValueError, OSError, RecursionError) as error:
        raise FileError(files.root / name, f"cannot be read: {error or type(error).__name__}") from error
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise FileError(files.root / name, "was written by another version; run the study's command to write it again")
    if why := unusual(told) or misfit(told, StudyResult, "") or _contradiction(cast(StudyResult, told)):
        raise FileError(files.root / name, f"{why}; run the study's command to write it again")
    return cast(StudyResult, told)


def read_trials(files: RecordFiles, directory: str) -> DataFrame:
    """All trials of a study, one a row. Raises :class:`FileError` for a file that is missing or damaged."""
    import pandas as pd

    name = f"{directory}/{TRIALS}"
    try:
        table = files.table(name)
    except FileNotFoundError:
        raise FileError(files.root / name, "is missing; run the study's command to write it again") from None
    if missing := [column for column in COLUMNS if column not in table.column_names]:
        raise FileError(files.root / name, f"has no column {missing[0]}; run the study's command to write it again")
    try:
        frame: DataFrame = table.to_pandas()
    except (ValueError, OverflowError) as error:
        raise FileError(files.root / name, f"cannot be read ({error})") from error
    if not pd.api.types.is_numeric_dtype(frame["value"]) and frame["value"].notna().any():
        raise FileError(files.root / name, "has values that are no numbers; run the study's command to write it again")
    words = [str(c) for c in frame if c not in COLUMNS and not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{column: frame[column].map(str, na_action="ignore") for column in words})


def _contradiction(told: StudyResult) -> str | None:
    """What in a result of the right types contradicts the rest."""
    finals, evaluation = told["comparison"], told.get("evaluation", RETRIEVAL.name)
    if evaluation not in SCHEMAS:
        return f"evaluation={evaluation!r} is not one of {', '.join(SCHEMAS)}"
    if not finals["rows"]:
        return "comparison.rows is empty"
    if any(finals["metric"] not in row["metrics"] for row in finals["rows"]):
        return f"comparison.metric={finals['metric']!r} is a metric that a row lacks"
    return None
