"""The files of a study: ``study.json``, all trials as parquet, and the comparison of the final runs."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from bench.atomic import explain_write_errors, write_atomic
from bench.compare.comparison import Comparison
from bench.compare.effects import Effect
from bench.record.serialize import as_override, serialize
from bench.record.study import SCHEMA, TRIALS
from bench.study.arm import Arm
from strategies import find
from studies.base import StudySpec


def write(
    directory: Path,
    spec: StudySpec,
    name: str,
    command: str,
    arms: Sequence[Arm],
    comparison: Comparison,
    effects: Sequence[Effect],
) -> dict[str, Any]:
    """Write ``study.json`` and ``trials.parquet`` into ``directory``; returns the content of the first."""
    import pandas as pd

    told = {
        "schema": SCHEMA,
        "name": name,
        "asks": spec.asks,
        "command": command,
        "protocol": spec.protocol,
        "selected_by": f"dev {spec.metric}" if spec.protocol == "search" else None,
        "logarithmic": sorted({d.key for arm in arms for d in spec.dimensions(find(arm.strategy)) if d.log}),
        "evaluation": comparison.schema.name,
        "split": comparison.rows[0].group.records[0].split,
        "arms": [_arm(arm, spec) for arm in arms],
        "comparison": _comparison(comparison),
        "effects": [asdict(effect) for effect in effects],
    }
    with explain_write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / "study.json", (json.dumps(serialize(told), indent=1, ensure_ascii=False) + "\n").encode())
    trials = [
        {
            "strategy": arm.strategy,
            "number": trial.number,
            "state": trial.state.name.lower(),
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "started": trial.datetime_start,
            "ended": trial.datetime_complete,
            **values,
        }
        for arm in arms
        for trial, values in zip(arm.trials, arm.values, strict=True)
    ]
    frame = pd.DataFrame(trials)
    for column in frame.columns[6:]:  # a setting may be a number here and a word there
        there = frame[column].dropna()
        if there.map(type).nunique() > 1:
            frame[column] = there.map(as_override)
    write_atomic(directory / TRIALS, frame.to_parquet(index=False))
    return told


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "metric": comparison.metric,
        "rows": [
            {
                "label": row.group.label,
                "seeds": row.group.seeds,
                "commands": [record.command for record in row.group.records],
                "metrics": {metric: asdict(value) for metric, value in row.metrics.items()},
                "cost": row.cost,
                "before": row.before,
                "letters": row.letters,
                "not_best": row.not_best,
            }
            for row in comparison.rows
        ],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "best": comparison.best,
        "notes": comparison.notes,
    }


def shown(lines: Sequence[Sequence[str]], seeds: Sequence[int]) -> str:
    """One command that repeats the runs of all ``lines`` with all ``seeds``, with their differences as sweeps."""
    values: dict[str, list[str]] = {}
    for line in lines:
        for override in line:
            key, _, value = override.partition("=")
            known = values.setdefault(key, [])
            if value not in known:
                known.append(value)
    values["seed"] = [str(seed) for seed in seeds]
    words = [f"{key}={','.join(of_key)}" for key, of_key in values.items() if key not in ("runs_dir", "track")]
    return shlex.join(["bench", "run", *words])


def _arm(arm: Arm, spec: StudySpec) -> dict[str, Any]:
    states = [trial.state for trial in arm.trials]
    lines, on_grid = list(arm.finals.values()), spec.protocol == "grid"
    commands = (
        ({"every one": shown(lines, spec.seeds)} if lines else {})
        if on_grid
        else {what: shown([line], spec.fresh) for what, line in arm.finals.items()}
    )
    return {
        "strategy": arm.strategy,
        "trials": len(arm.trials),
        "complete": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
        "importances": importances(arm),
        "best": None if arm.best is None else {"value": arm.best[0], "settings": arm.best[1]},
        "edges": edges(arm, spec),
        "finals": commands,
        "defaults": arm.defaults,
        "why": arm.why,
        "reasons": arm.reasons,
    }


def edges(arm: Arm, spec: StudySpec) -> dict[str, str]:
    """Settings of which the best value is the ``highest``, the ``lowest`` or the ``only`` one that was tried.

    A better value may lie beyond. Knobs of the strategy are left out: they declare their range themselves.
    """
    found: dict[str, str] = {}
    if arm.best is None:
        return found
    for key in (d.key for d in spec.vary if not d.key.startswith("strategy.")):
        tried, best = [values[key] for values in arm.values if _is_number(values[key])], arm.best[1][key]
        if not _is_number(best) or min(tried) < best < max(tried):
            continue
        found[key] = "only" if min(tried) == max(tried) else "lowest" if best == min(tried) else "highest"
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def importances(arm: Arm) -> dict[str, float]:
    """The importance of each setting among the better trials (PED-ANOVA); empty with too few trials."""
    complete = [trial for trial in arm.trials if trial.state == TrialState.COMPLETE]
    if len(complete) < 8 or len(complete[0].params) < 2:
        return {}
    twin = optuna.create_study(direction="maximize")
    twin.add_trials(complete)
    with warnings.catch_warnings():  # that all importances are equal: nothing sets the better trials apart
        warnings.filterwarnings("error", "Target and region quantiles select the same set of trials")
        try:
            return optuna.importance.get_param_importances(
                twin, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        except (RuntimeError, ValueError, UserWarning):  # all trials alike
            return {}
