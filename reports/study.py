"""A study's result as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.markdown import pipe_table


def render_study(directory: Path, told: Mapping[str, Any]) -> str:
    """The question, the trials of each strategy, and the final runs as they are compared."""
    parts = [f"# {told['name']}", told["asks"], _trials(told), _finals(told), f"Everything: `{directory}`"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _trials(told: Mapping[str, Any]) -> str:
    if told["selected_by"] is None:
        return ""
    header = ["strategy", "trials", "complete", "pruned", "failed", "what decides"]
    body = []
    for arm in told["arms"]:
        most = sorted(arm["importances"].items(), key=lambda item: -item[1])[:3]
        decides = ", ".join(f"{key.removeprefix('strategy.')} {share:.0%}" for key, share in most)
        counts = [str(arm[name]) for name in ("trials", "complete", "pruned", "failed")]
        body.append([arm["strategy"], *counts, decides])
    return f"Selected by {told['selected_by']}, reported on fresh seeds.\n\n" + pipe_table(header, body)


def _finals(told: Mapping[str, Any]) -> str:
    comparison = told["comparison"]
    metric = comparison["metric"]
    header = ["final runs", metric, "95 %", "n", "told apart"]
    body = []
    for number, row in enumerate(comparison["rows"]):
        value = row["metrics"][metric]
        mean = f"**{value['mean']:.2f}**" if number == comparison["best"] else f"{value['mean']:.2f}"
        reach = "" if value["low"] is None else f"{value['low']:.1f} to {value['high']:.1f}"
        body.append([row["label"], mean, reach, f"n={value['n']}", row["letters"]])
    lines = [f"- {note}" for note in comparison["notes"]]
    finals = [f"# {arm['strategy']}, {what}\n{line}" for arm in told["arms"] for what, line in arm["finals"].items()]
    commands = "\n".join(["```sh", *finals, "```"])
    return "\n\n".join([pipe_table(header, body), *(["\n".join(lines)] if lines else []), commands])
