"""What was published stays what it is: every published command is still the run that it was."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

from bench.config.overrides import expand, resolve
from bench.config.run import RunConfig

RESULTS = Path(__file__).parents[1] / "reports" / "results" / "2026-11"


def test_every_published_command_is_still_the_run_that_it_was() -> None:
    """``run_ids.tsv`` was written by the program that made the records: run id, fingerprint of the data, overrides."""
    published = [line.split("\t") for line in (RESULTS / "run_ids.tsv").read_text(encoding="utf-8").splitlines()]
    assert len(published) > 250
    known: dict[tuple[str, ...], RunConfig] = {}
    for run_id, fingerprint, overrides in published:
        words = shlex.split(overrides)
        (seed,) = (int(word.removeprefix("seed=")) for word in words if word.startswith("seed="))
        rest = tuple(word for word in words if not word.startswith("seed="))
        config = known[rest] if rest in known else known.setdefault(rest, resolve(rest))
        assert replace(config, seed=seed).run_id(fingerprint) == run_id, overrides


def test_every_command_of_the_published_pages_is_among_them() -> None:
    known = {line.split("\t")[2] for line in (RESULTS / "run_ids.tsv").read_text(encoding="utf-8").splitlines()}
    for page in (RESULTS / "report.md", *RESULTS.glob("studies/*/study.md")):
        for command in re.findall(r"^bench run .*", page.read_text(encoding="utf-8"), re.MULTILINE):
            for single in expand(shlex.split(command)[2:]):
                assert " ".join(map(shlex.quote, single)) in known, command
