"""What follows ``bench run``: the recommendation of its runs, and the command that comes next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.compare.comparability import differing_aspects
from bench.compare.comparison import compare
from bench.compare.per_query import of_runs
from bench.compare.seed_groups import LENGTH, seed_groups
from bench.compare.select import fitting
from bench.config.overrides import command_line, expand, resolve
from bench.errors import UserError
from bench.record.record import Record

BASELINE, OTHER = "in_batch", "hardest_neg"  # the strategy that a single one is compared with; of the first the second
MAY_DIFFER = ("encoder", "budget")  # in a comparison that says something: of one data set and one measure
SEEDS = 3  # how many make an interval that is worth its name


def recommendation(records: Sequence[Record], runs_dir: Path) -> tuple[str, tuple[str, ...]]:
    """The recommendation with its cost in one sentence, and the commands that it is about.

    Both are empty where the runs are of one strategy and setting. The sentence says so where they may not be compared.
    """
    from reports.verdict import start_with

    try:
        compared = compare(records, of_runs(runs_dir))
    except UserError as error:
        told, _, _ = str(error).partition(":\n")
        return f"There is no recommendation: {told}.", ()
    return start_with(compared) if len(compared.rows) > 1 else ("", ())


def next_step(words: Sequence[str], records: Sequence[Record], runs_dir: Path) -> str:
    """One line with the next useful command after the runs of ``words``, which left ``records`` in ``runs_dir``."""
    records = [record for record in records if not record.invalid]
    if not records:
        return "next, other settings: every run is invalid, for the reasons above"
    rows, seeds = seed_groups(records), sorted({record.seed for record in records})
    where = "" if runs_dir == Path("runs") else f" --runs-dir {shlex.quote(str(runs_dir))}"
    if len(rows) > 1 and len(seeds) > 1:
        return f"next, a page with tests, costs and figures: bench report --out report{where}"
    enough = seeds if len(seeds) > 1 else [seeds[0] + n for n in range(SEEDS)]
    sweep = f"seed={','.join(map(str, enough))}"
    if len(rows) > 1:
        chosen = [f"data={records[0].data['name']}", f"eval.split={records[0].split}"]
        chosen += [word for word in words if word.startswith("budget.")]
        found = [name for name in differing_aspects(seed_groups(fitting(records, *chosen))) if name in MAY_DIFFER]
        differ = [f"--allow {','.join(found)}"] if found else []
        compared = " ".join(["bench compare", *map(shlex.quote, chosen), *differ]) + where
        return f"next, intervals and costs (and tests, after the same runs with {sweep}): {compared}"
    if records[0].evaluation == "similarity" and "train_pairs" not in records[0].data["counts"]:  # few train on it
        return f"next, an interval over seeds: {_again(words, [f'strategy={records[0].strategy}', sweep])}"
    return f"next, to compare it with another strategy: {_with_another(words, records[0], sweep)}"


def _with_another(words: Sequence[str], record: Record, sweep: str) -> str:
    """The command that runs the strategy of ``record`` and another one with the same settings, once for each seed.

    They are two commands where the strategy has settings of its own. Several stages train longer than one, so they and
    the other strategy get a budget.
    """
    own, other = record.strategy, OTHER if record.strategy == BASELINE else BASELINE
    config = resolve(next(iter(expand(words))))
    if len(config.strategy.stages()) > 1 and (config.each_stage_alone or config.train.stage_steps):
        steps = record.selection.get("steps") or 1
        words = [*(word for word in words if not word.startswith(LENGTH)), f"budget.steps={steps}"]
    shared = [word for word in words if not word.startswith("strategy.")]
    if shared == words:
        return _again(words, [f"strategy={own},{other}", sweep])
    return f"{_again(words, [f'strategy={own}', sweep])} && {_again(shared, [f'strategy={other}', sweep])}"


def _again(words: Sequence[str], first: Sequence[str]) -> str:
    """The command that repeats ``words`` with the strategy and the seeds of ``first``."""
    left = [word for word in words if not word.startswith(("strategy=", "stages", "seed"))]
    places = [shlex.quote(word) for word in words if word.startswith(("runs_dir=", "track="))]
    return " ".join([command_line([*first, *left]), *places])
