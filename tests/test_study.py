"""Studies: what they declare, and that nothing that happens to their processes changes what they find."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial
from tiny import bench, words_for, write_data

from bench.record.ledger import read
from bench.record.tracker import NullTracker
from bench.study import carry as carry_module
from bench.study.question import EVERY_KNOB, Dimension, Question, grid, knob
from strategies import find, registered
from studies import questions

KILLS = 20
TRIALS = 5

# A process that imports once and lets children carry out the study, each of which kills itself at a given moment:
# before or after a trial's storage, a checkpoint, a record or a history row is written, or a step is made.
DYING = """
import json, os, signal, sys
from bench import cli, commands, disk
import bench.config, bench.study.begin, bench.run, bench.train.loop, bench.record.store, bench.train.checkpoint
from optuna.storages.journal import JournalFileBackend
from bench.record.store import RunDirectory
from bench.train import checkpoint
from bench.train.step import Stepper

def mortal(owner, name, lives):
    plain = getattr(owner, name)
    def wrapped(*args, **kwargs):
        lives[0] -= 1
        if lives[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = plain(*args, **kwargs)
        lives[0] -= 1
        if lives[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(owner, name, wrapped)

moments, words = json.loads(sys.argv[1]), sys.argv[2:]
killed = 0
for moment in [*moments, 10**9]:
    child = os.fork()
    if not child:
        lives = [moment]
        for owner, name in ((JournalFileBackend, "append_logs"), (checkpoint, "write"), (Stepper, "backward"),
                            (RunDirectory, "write_record"), (RunDirectory, "append_history")):
            mortal(owner, name, lives)
        try:
            cli.main(words)
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    else:
        assert status == 0, status
        break
print("killed", killed)
"""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("study") / "tiny")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "study-cache"))


def words(data: Path, runs: Path, *more: str) -> list[str]:
    settings = words_for(data, runs)
    del settings["train.max_steps"], settings["train.epochs"]
    return [*(f"{key}={word}" for key, word in settings.items()), "budget.steps=4", *more]


def result(runs: Path) -> dict[str, Any]:
    (path,) = runs.glob("studies/*/study.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def trials(runs: Path) -> pd.DataFrame:
    (path,) = runs.glob("studies/*/trials.parquet")
    return pd.read_parquet(path)


@pytest.fixture(scope="session")
def margin(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, for tests that only look."""
    runs = tmp_path_factory.mktemp("margin")
    assert bench("study", "margin", f"trials={TRIALS}", *words(data, runs)) == 0
    return runs


# What is asked


@pytest.mark.parametrize("name", sorted(questions()))
def test_every_study_asks_of_what_its_strategies_have(name: str) -> None:
    question = questions()[name]
    assert question.asks.endswith("?")
    for strategy in question.strategies:
        dimensions = question.dimensions(find(strategy.split()[0]))
        assert len({d.key for d in dimensions}) == len(dimensions)
        if question.protocol == "grid":
            assert all(d.choices for d in dimensions)
            assert len(grid(dimensions)) >= 1
        else:
            assert dimensions
            assert "eval.split=dev" in question.judged


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_knob_of_every_strategy_can_be_tuned(name: str) -> None:
    dimensions = Question("?", (EVERY_KNOB,), (name,)).dimensions(registered()[name])
    assert dimensions
    for d in dimensions:
        assert d.choices or (d.low is not None and d.high is not None and d.low < d.high)


def test_a_knob_that_is_given_is_not_tuned() -> None:
    question = Question("?", (EVERY_KNOB,), ("simcse",))
    every = {d.key for d in question.dimensions(registered()["simcse"])}
    left = {d.key for d in question.dimensions(registered()["simcse"], {"strategy.texts"})}
    assert every - left == {"strategy.texts"}


def test_a_knob_that_a_strategy_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="mnr has no knob margin"):
        Question("?", (knob("margin"),), ("mnr",)).dimensions(registered()["mnr"])


def test_numbers_are_told_with_as_many_digits_as_matter() -> None:
    dimension = Dimension("x", 0.0, 100.0)
    assert [dimension.shown(v) for v in (0.123456, 12.34567, 0.0, 0.000123456)] == [0.1235, 12.35, 0.0, 0.0001235]


# What is found


def test_selection_is_on_dev_and_the_report_on_test_with_other_seeds(margin: Path) -> None:
    told, tried = result(margin), trials(margin)
    assert len(tried) == TRIALS
    assert tried.number.tolist() == list(range(TRIALS))
    records = [json.loads(path.read_text()) for path in margin.glob("*/record.json")]
    by_split = {split: [r for r in records if r["split"] == split] for split in ("dev", "test")}
    assert {r["seed"] for r in by_split["dev"]} == {1}
    assert {r["seed"] for r in by_split["test"]} == {101, 102, 103}
    best = tried.loc[tried.value.idxmax()]
    (arm,) = told["arms"]
    assert f"strategy.margin={best['strategy.margin']:g}" in arm["finals"]["best"]
    assert (arm["trials"], arm["complete"]) == (TRIALS, TRIALS)
    values = {round(r["metrics"]["exact/mrr@10"], 9) for r in by_split["dev"]}
    assert values == set(tried.value.round(9))


def test_a_trial_is_one_tracked_run_of_the_study_s_group(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None, str]] = []

    class Watching(NullTracker):
        def start(
            self, run_id: str, config: Any, group: Any = None, tags: Any = (), job_type: str = "", resume: bool = False
        ) -> None:
            seen.append((run_id, group, job_type))

    monkeypatch.setattr("bench.run.make_tracker", lambda mode, root: Watching())
    assert bench("study", "margin", "trials=2", *words(data, tmp_path)) == 0
    (directory,) = tmp_path.glob("studies/*")
    assert {group for _, group, _ in seen} == {directory.name}
    assert [kind for _, _, kind in seen] == ["trial"] * 2 + ["final"] * 6
    assert len({run_id for run_id, _, _ in seen}) == 8


def test_it_leaves_a_table_and_a_figure(margin: Path) -> None:
    (directory,) = margin.glob("studies/*")
    assert (directory / "study.md").read_text().startswith("# margin-tiny")
    assert (directory / "response.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (directory / "response.svg").read_text()


def test_the_same_command_finds_it_finished_and_more_trials_go_on(
    data: Path, margin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in margin.glob("*/record.json")}
    assert bench("study", "margin", f"trials={TRIALS}", *words(data, margin)) == 0
    assert {path: path.stat().st_mtime_ns for path in margin.glob("*/record.json")} == before
    assert "in_batch" in capsys.readouterr().out


def test_a_grid_runs_every_combination_with_every_seed(data: Path, tmp_path: Path) -> None:
    assert bench("study", "pooling", *words(data, tmp_path)) == 0
    told = result(tmp_path)
    assert "encoder.pooling=mean,cls,first_last_mean" in told["arms"][0]["finals"]["every one"]
    assert told["arms"][0]["finals"]["every one"].endswith("seed=1,2,3")
    assert len(told["comparison"]["rows"]) == 3
    assert all(row["seeds"] == [1, 2, 3] for row in told["comparison"]["rows"])
    assert {json.loads(p.read_text())["split"] for p in tmp_path.glob("*/record.json")} == {"test"}


def test_strategies_of_a_showdown_get_the_same_number_of_trials(data: Path, tmp_path: Path) -> None:
    chosen = words(data, tmp_path, "strategy=in_batch,mnr,hardest_neg", "trials=2")
    assert bench("study", "showdown", *chosen) == 0
    told = result(tmp_path)
    assert [(arm["strategy"], arm["trials"]) for arm in told["arms"]] == [
        ("in_batch", 2),
        ("mnr", 2),
        ("hardest_neg", 2),
    ]
    assert len(told["comparison"]["rows"]) == 3


def refusing(monkeypatch: pytest.MonkeyPatch, *strategies: str) -> None:
    """Have every run of these strategies turn out to be impossible."""
    plain = carry_module.Study._execute

    def execute(self: Any, line: Any, role: Any) -> Any:
        if line[0].removeprefix("strategy=") in strategies:
            raise carry_module.Impossible("it diverged")
        return plain(self, line, role)

    monkeypatch.setattr(carry_module.Study, "_execute", execute)


def test_a_strategy_of_which_no_trial_ends_does_not_take_the_others_with_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, "mnr")
    assert bench("study", "showdown", "trials=1", *words(data, tmp_path, "strategy=mnr,in_batch")) == 0
    failed, fine = result(tmp_path)["arms"]
    assert (failed["complete"], failed["failed"], failed["why"], failed["finals"]) == (0, 1, "it diverged", {})
    assert (fine["complete"], fine["why"]) == (1, "")
    assert "mnr: no trial came to an end (it diverged)" in capsys.readouterr().out


def test_a_study_of_which_no_trial_ends_says_why(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, "mnr")
    for _ in range(2):  # the reason is kept
        assert bench("study", "scale", "trials=2", *words(data, tmp_path, "strategy=mnr")) == 2
        assert "no trial came to an end: mnr: it diverged" in capsys.readouterr().err


def test_what_cannot_be_on_this_data_is_told_at_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranks up to 210 are searched, and the data has 60 passages."""
    assert bench("study", "tune", "trials=3", *words(data, tmp_path, "strategy=mined_hard")) == 2
    assert "ranks up to 210 are asked for" in capsys.readouterr().err
    assert not list(tmp_path.glob("studies/*"))


def test_no_trial_is_spent_on_settings_that_do_not_go_together(data: Path, tmp_path: Path) -> None:
    """Of mnr's two kinds of symmetry only one can be asked for at a time."""
    assert bench("study", "tune", "trials=6", "sampler=random", *words(data, tmp_path, "strategy=mnr")) == 0
    assert set(trials(tmp_path).state) == {"complete"}


def test_strategies_take_turns_and_what_is_left_is_counted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    plain = carry_module.Study._trial

    def told(self: Any, sweep: Any, start: Any, trial: Any) -> None:
        order.append(start[0])
        plain(self, sweep, start, trial)

    monkeypatch.setattr(carry_module.Study, "_trial", told)
    assert bench("study", "scale", "trials=2", *words(data, tmp_path, "strategy=mnr,in_batch")) == 0
    assert order == ["strategy=mnr", "strategy=in_batch"] * 2
    assert "(1 of 16 done" in capsys.readouterr().err  # two trials and two times three final runs each
    assert bench("study", "scale", "trials=3", *words(data, tmp_path, "strategy=mnr,in_batch")) == 0
    assert "(1 of 14 done" in capsys.readouterr().err


def test_another_question_is_another_study(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for high in (0.5, 0.1):
        question = replace(questions()["margin"], vary=(Dimension("strategy.margin", 0.0, high),), strategies=("mnr",))
        monkeypatch.setattr("bench.study.begin.questions", lambda q=question: {"margin": q})
        monkeypatch.setattr("bench.study.begin._refuse_impossible", lambda *_: None)
        refusing(monkeypatch, "mnr")
        bench("study", "margin", "trials=1", *words(data, tmp_path))
    assert len(list(tmp_path.glob("studies/*"))) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": "in_batch"}, "no tuple"),
        ({"strategies": ("mnr", "mnr")}, "each once"),
        ({"protocol": "grid"}, "strategy.margin has a range"),
        ({"seeds": (1, 101)}, "fresh seeds are others"),
    ],
)
def test_what_is_no_study_cannot_be_declared(changes: dict[str, Any], message: str) -> None:
    asked = replace(questions()["margin"], vary=(Dimension("strategy.margin", 0.0, 0.5),))
    with pytest.raises(ValueError, match=message):
        replace(asked, **changes)


class EveryOther(BasePruner):
    """Sees enough of every second trial at once."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return trial.number % 2 == 1


@pytest.mark.parametrize("more", [["train.eval_every=1"], ["seeds=2"]], ids=["by dev evaluations", "by seeds"])
def test_a_trial_that_is_seen_through_ends_early(
    data: Path, tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.study.carry.Study._pruner", lambda self: EveryOther())
    assert bench("study", "margin", "trials=4", *words(data, tmp_path, *more)) == 0
    assert trials(tmp_path).state.tolist() == ["complete", "pruned", "complete", "pruned"]
    (arm,) = result(tmp_path)["arms"]
    assert (arm["complete"], arm["pruned"]) == (2, 2)
    states = [json.loads(p.read_text())["status"] for p in tmp_path.glob("*/record.json")]
    assert states.count("pruned") == (2 if "train.eval_every=1" in more else 0)
    assert not list(tmp_path.glob("*/checkpoints"))
    assert "pruned" not in {r.status for r in read(tmp_path).records}


def test_pruners_are_the_median_of_dev_evaluations_or_wilcoxon_s_over_seeds() -> None:
    def of(question: Question) -> str:
        carry = carry_module.Study("x", question, (), None, None, None, None)  # type: ignore[arg-type]
        return type(carry._pruner()).__name__

    searched = Question("?", (knob("margin"),), ("in_batch",))
    assert of(searched) == "MedianPruner"
    assert of(replace(searched, seeds=(1, 2, 3))) == "WilcoxonPruner"
    assert of(replace(searched, protocol="grid")) == "NopPruner"


def test_killed_twenty_times_it_finds_the_same(data: Path, margin: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    moments = [rng.randint(1, 24) for _ in range(KILLS)]
    command = ["study", "margin", f"trials={TRIALS}", *words(data, tmp_path, "train.save_every=1")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DYING, json.dumps(moments), *command],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"killed {KILLS}" in done.stdout
    columns = ["strategy", "number", "state", "value", "strategy.margin"]
    pd.testing.assert_frame_equal(trials(tmp_path)[columns], trials(margin)[columns])
    for one, other in zip(result(tmp_path)["comparison"]["rows"], result(margin)["comparison"]["rows"], strict=True):
        exact = [{k: v for k, v in row["metrics"].items() if "exact" in k} for row in (one, other)]
        assert exact[0] == exact[1]
    runs = [{path.parent.name for path in root.glob("*/record.json")} for root in (tmp_path, margin)]
    assert runs[0] == runs[1]
    assert not list(tmp_path.glob("*/checkpoints"))


RESIDENT = """
import sys
from pathlib import Path
from bench import cli
import bench.study.carry as carry
plain = carry.Study._trial
def trial(self, *arguments):
    plain(self, *arguments)
    print("resident", Path("/proc/self/statm").read_text().split()[1], file=sys.stderr)
carry.Study._trial = trial
cli.main(sys.argv[1:])
"""


def test_runs_of_a_search_are_known_as_such_from_the_start(margin: Path) -> None:
    (noted,) = margin.glob("studies/*/searched.txt")
    ledger = read(margin)
    assert sorted(noted.read_text().split()) == sorted(record.run_id for record in ledger.searched)
    assert len(ledger.searched) == TRIALS and {r.seed for r in ledger.records} == {101, 102, 103}


def test_the_next_trial_trains_at_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first has loaded, tokenised and embedded is there for the second: it trains within two seconds of the
    processor, which other work on the machine does not lengthen.
    """
    from time import process_time

    from bench.record.store import RunDirectory
    from bench.train.step import Stepper

    told: list[tuple[str, float]] = []
    for owner, name in ((RunDirectory, "write_record"), (Stepper, "backward")):
        plain = getattr(owner, name)

        def wrapped(*args: Any, plain: Any = plain, name: str = name, **kwargs: Any) -> Any:
            told.append((name, process_time()))
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)
    assert bench("study", "margin", "trials=3", *words(data, tmp_path)) == 0
    waits = [
        after[1] - before[1]
        for before, after in itertools.pairwise(told)
        if (before[0], after[0]) == ("write_record", "backward")
    ]
    assert len(waits) >= 2 and max(waits) < 2


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_does_not_grow_from_trial_to_trial(data: Path, tmp_path: Path) -> None:
    command = ["study", "margin", "trials=30", *words(data, tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, *command],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    pages = [int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("resident")]
    assert len(pages) == 30
    assert pages[-1] <= 1.05 * pages[2], pages


# What is refused


@pytest.mark.parametrize(
    ("words_", "message"),
    [
        (["margn"], "no study 'margn'.*margin"),
        (["margin", "strategy=mnr"], "study margin: strategy mnr has no knob margin"),
        (["margin", "strategy.margin=0.1"], "strategy.margin=0.1: that is what study margin varies"),
        (["margin", "seed=1"], "seed= is the study's"),
        (["margin", "trials=0"], "trials=0 must be at least 1"),
        (["margin", "trials=many"], "trials=many is not a whole number"),
        (["pooling", "trials=3"], "tries every combination"),
        (["margin", "sampler=guess"], "sampler=.?guess"),
        (["margin", "train.weight_decay=0,0.1"], "only strategy= may be a list"),
        (["margin", "storage=nosuch://host/db"], "storage=nosuch://host/db"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, words_: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    name, *more = words_
    assert bench("study", name, *words(data, tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not list(tmp_path.glob("*/record.json"))


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("list", "studies") == 0
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in questions())


def test_a_place_that_cannot_be_written_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert bench("study", "margin", "--out", str(tmp_path / "file"), *words(data, tmp_path)) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize(("text", "message"), [("QUESTION = 3", "is no Question"), ("x = (", "SyntaxError")])
def test_a_broken_study_file_is_told_with_its_name(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import studies

    (tmp_path / "broken.py").write_text(text)
    monkeypatch.setattr(studies, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "studies.broken", raising=False)
    assert bench("list", "studies") == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: studies/broken.py: ") and message in error
