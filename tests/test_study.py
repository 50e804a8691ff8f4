"""What a study finds: by which trials, chosen how, reported on what, and what is told of those that fail."""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial
from tiny import WORDS, bench
from tiny_studies import TRIALS, result, showdown, trials, words

from bench.errors import Impossible
from bench.record.ledger import read
from bench.study import runner as runner_module
from bench.track.base import NullTracker
from studies import registered
from studies.base import Dimension, StudySpec, knob

DEFAULTS_WON = "the defaults are the best settings of {} finished trials"


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


def test_runs_of_a_search_are_known_as_such_from_the_start(margin: Path) -> None:
    (noted,) = margin.glob("studies/*/searched.txt")
    ledger = read(margin)
    assert sorted(noted.read_text().split()) == sorted(record.run_id for record in ledger.searched)
    assert len(ledger.searched) == TRIALS and {r.seed for r in ledger.records} == {101, 102, 103}


def weights(runs: Path) -> dict[int, int]:
    """The number of runs with weights, by seed: 1 is that of trials, others those of final runs."""
    seeds = [json.loads(path.read_text())["seed"] for path in runs.glob("*/record.json") if _kept(path.parent)]
    return {seed: seeds.count(seed) for seed in seeds}


def _kept(run: Path) -> bool:
    return (run / "model" / "model.safetensors").exists()


def test_of_a_search_only_the_best_settings_keep_weights(margin: Path) -> None:
    assert weights(margin) == {101: 1, 102: 1, 103: 1}, "neither the trials nor the defaults"


def finals(runs: Path) -> int:
    """How many settings run again at the end: the best, and the defaults, unless the search drew the default margin."""
    tried = trials(runs)
    return 1 if tried["strategy.margin"][tried.value.idxmax()] == 0.2 else 2


@pytest.mark.parametrize("keep", ["none", "all"])
def test_keep_decides_which_runs_of_a_study_keep_weights(data: Path, tmp_path: Path, keep: str) -> None:
    assert bench("study", "margin", "trials=2", f"keep={keep}", *words(data, tmp_path)) == 0
    n = finals(tmp_path)
    assert weights(tmp_path) == ({1: 2, 101: n, 102: n, 103: n} if keep == "all" else {})
    assert bench("study", "margin", "trials=2", *words(data, tmp_path)) == 0
    assert len(list(tmp_path.glob("studies/*"))) == 1, "keep= does not make another study"


def test_a_trial_is_one_tracked_run_of_the_study_s_group(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None, str]] = []

    class Watching(NullTracker):
        def start(self, run_id: str, config: Any, group: Any = None, tags: Any = (), job_type: str = "") -> None:
            seen.append((run_id, group, job_type))

    monkeypatch.setattr("bench.run.lifecycle.make_tracker", lambda mode, root: Watching())
    assert bench("study", "margin", "trials=2", *words(data, tmp_path)) == 0
    (directory,) = tmp_path.glob("studies/*")
    assert {group for _, group, _ in seen} == {directory.name}
    assert [kind for _, _, kind in seen] == ["trial"] * 2 + ["final"] * 3 * finals(tmp_path)
    assert len({run_id for run_id, _, _ in seen}) == len(seen)


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


def test_a_grid_of_several_settings_says_what_each_does_by_itself(data: Path, tmp_path: Path) -> None:
    assert bench("study", "negatives", "seeds=1", *words(data, tmp_path)) == 0
    told = result(tmp_path)
    by_label = {row["label"]: row["metrics"]["recall@1"]["mean"] for row in told["comparison"]["rows"]}
    at = {(group, pool): by_label[f"random_global group={group} pool={pool}"] for group in (2, 8) for pool in (10, 50)}
    larger = ((at[8, 10] - at[2, 10]) + (at[8, 50] - at[2, 50])) / 2
    found = {effect["key"]: effect for effect in told["effects"]}
    assert found["strategy.group"]["over"]["mean"] == pytest.approx(larger)
    assert found["strategy.pool"]["over"]["n"] == 2
    (page,) = tmp_path.glob("studies/*/study.md")
    assert "What each setting does by itself" in page.read_text()


def test_strategies_of_a_showdown_get_the_same_number_of_trials(data: Path, tmp_path: Path) -> None:
    assert bench("study", "showdown", *showdown(data, tmp_path, "strategy=in_batch,mnr", "trials=2")) == 0
    told = result(tmp_path)
    assert [(arm["strategy"], arm["trials"]) for arm in told["arms"]] == [("in_batch", 2), ("mnr", 2)]
    assert all("train.lr" in arm["best"]["settings"] for arm in told["arms"])
    found = trials(tmp_path)
    first = found[found.number == 0]
    assert first["train.lr"].to_list() == [5e-5, 5e-5] and first["strategy.scale"].to_list() == [30.0, 20.0]
    best = found.sort_values(["value", "number"], ascending=[False, True]).groupby("strategy").first().number
    rows = sum(1 if number == 0 else 2 for number in best)
    said = [arm["defaults"] for arm in told["arms"]]
    assert said == [DEFAULTS_WON.format(2) if best[arm["strategy"]] == 0 else "" for arm in told["arms"]]
    assert len(told["comparison"]["rows"]) == rows, "each strategy's best settings and its defaults, if others"
    (page,) = (path.read_text() for path in tmp_path.glob("studies/*/study.md"))
    for pair in told["comparison"]["pairs"]:
        row = told["comparison"]["rows"][pair["second"]]
        lines = page.partition("| final runs")[2].splitlines()
        (line,) = (re.sub(" +", " ", line) for line in lines if line.startswith(f"| {row['label']} "))
        difference = f"| {pair['difference']:+.1f} ({pair['low']:+.1f} to {pair['high']:+.1f}) |"
        if pair["first"] == 0:
            assert difference in line and f"| {row['not_best']:.4f}" in line
    assert "Rows that share a letter are not significantly different" in page
    assert "at the settings that the search found" in " ".join(page.split())


def test_where_the_defaults_win_they_run_once_and_the_page_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("study", "tune", "trials=1", *words(data, tmp_path, "strategy=mnr")) == 0
    told = result(tmp_path)
    assert [*told["arms"][0]["finals"]] == ["best"] and told["arms"][0]["defaults"] == DEFAULTS_WON.format(1)
    (page,) = tmp_path.glob("studies/*/study.md")
    assert f"mnr: {DEFAULTS_WON.format(1)}" in page.read_text() and "repeat a seed" not in page.read_text()


def test_why_there_is_no_row_of_the_defaults_is_said(data: Path, tmp_path: Path) -> None:
    given = words(data, tmp_path, "strategy=queue")
    assert bench("study", "tune", "trials=1", *given) == 0
    (arm,) = result(tmp_path)["arms"]
    assert [*arm["finals"]] == ["best"]
    assert "the defaults do not fit this study" in arm["defaults"] and "warmup=50" in arm["defaults"]


def test_no_trial_is_spent_on_settings_that_do_not_go_together(data: Path, tmp_path: Path) -> None:
    """Of mnr's two kinds of symmetry only one can be asked for at a time."""
    assert bench("study", "tune", "trials=6", "sampler=random", *words(data, tmp_path, "strategy=mnr")) == 0
    assert set(trials(tmp_path).state) == {"complete"}


def test_strategies_take_turns_and_what_is_left_is_counted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    plain = runner_module.StudyRunner._trial

    def told(self: Any, sweep: Any, start: Any, trial: Any) -> None:
        order.append(start[0])
        plain(self, sweep, start, trial)

    monkeypatch.setattr(runner_module.StudyRunner, "_trial", told)
    assert bench("study", "scale", "trials=2", *words(data, tmp_path, "strategy=mnr,in_batch")) == 0
    assert order == ["strategy=mnr", "strategy=in_batch"] * 2
    progress = capsys.readouterr().err
    assert "(1 of 16 done" in progress  # two trials and two times three final runs each
    assert "trial mnr scale=20 seed 1: " in progress, "a line names the settings of its trial"
    assert re.search(r"final in_batch (best|default) seed 101: ", progress)
    assert bench("study", "scale", "trials=3", *words(data, tmp_path, "strategy=mnr,in_batch")) == 0
    assert "(1 of 14 done" in capsys.readouterr().err


# Trials that fail


def refusing(monkeypatch: pytest.MonkeyPatch, *strategies: str) -> None:
    """Have every run of these strategies turn out to be impossible."""
    plain = runner_module.StudyRunner._execute

    def execute(self: Any, line: Any, role: Any) -> Any:
        if line[0].removeprefix("strategy=") in strategies:
            raise Impossible("it diverged")
        return plain(self, line, role)

    monkeypatch.setattr(runner_module.StudyRunner, "_execute", execute)


def test_a_strategy_of_which_no_trial_ends_does_not_take_the_others_with_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, "mnr")
    assert bench("study", "showdown", "trials=1", *showdown(data, tmp_path, "strategy=mnr,in_batch")) == 0
    failed, fine = result(tmp_path)["arms"]
    assert (failed["complete"], failed["failed"], failed["why"], failed["finals"]) == (0, 1, "it diverged", {})
    assert (fine["complete"], fine["why"]) == (1, "")
    assert "mnr: no trial finished (it diverged)" in capsys.readouterr().out


def test_an_engine_that_is_not_installed_does_not_take_the_others_with_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = Dimension("index.engine", choices=("usearch", "hnswlib", "faiss"))
    spec = replace(registered()["hnsw"], vary=(engines,), seeds=(1,))
    monkeypatch.setattr("bench.study.setup.known_studies", lambda: {"hnsw": spec})
    monkeypatch.setitem(sys.modules, "usearch", None)
    assert bench("study", "hnsw", *words(data, tmp_path)) == 0
    told = result(tmp_path)
    (arm,) = told["arms"]
    assert (arm["complete"], arm["failed"]) == (2, 1)
    labels = [row["label"] for row in told["comparison"]["rows"]]
    assert sorted(label.split()[-1] for label in labels) == ["engine=faiss", "engine=hnswlib"]
    counted = re.findall(r"\((\d of \d) done", capsys.readouterr().err)
    assert counted == ["1 of 2", "2 of 2"], (
        "neither runs that cannot be, nor final runs of a grid, which are its trials"
    )


def test_a_study_of_which_no_trial_ends_says_why(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, "mnr")
    for _ in range(2):  # the reason is kept
        assert bench("study", "scale", "trials=2", *words(data, tmp_path, "strategy=mnr")) == 2
        assert "no trial finished: mnr: it diverged" in capsys.readouterr().err


def test_another_spec_is_another_study(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for high in (0.5, 0.1):
        spec = replace(registered()["margin"], vary=(Dimension("strategy.margin", 0.0, high),), strategies=("mnr",))
        monkeypatch.setattr("bench.study.setup.known_studies", lambda q=spec: {"margin": q})
        monkeypatch.setattr("bench.study.setup._refuse_impossible", lambda *_: None)
        refusing(monkeypatch, "mnr")
        bench("study", "margin", "trials=1", *words(data, tmp_path))
    assert len(list(tmp_path.glob("studies/*"))) == 2


# Trials that end early


class EveryOther(BasePruner):
    """Sees enough of every second trial at once."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return trial.number % 2 == 1


@pytest.mark.parametrize("more", [["train.eval_every=1"], ["seeds=2"]], ids=["by dev evaluations", "by seeds"])
def test_a_trial_that_is_seen_through_ends_early(
    data: Path, tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.study.runner.StudyRunner._pruner", lambda self: EveryOther())
    assert bench("study", "margin", "trials=4", *words(data, tmp_path, *more)) == 0
    assert trials(tmp_path).state.tolist() == ["complete", "pruned", "complete", "pruned"]
    (arm,) = result(tmp_path)["arms"]
    assert (arm["complete"], arm["pruned"]) == (2, 2)
    states = [json.loads(p.read_text())["status"] for p in tmp_path.glob("*/record.json")]
    assert states.count("pruned") == (2 if "train.eval_every=1" in more else 0)
    assert not list(tmp_path.glob("*/checkpoints"))
    assert "pruned" not in {r.status for r in read(tmp_path).records}


def test_pruners_are_the_median_of_dev_evaluations_or_wilcoxon_s_over_seeds() -> None:
    def of(spec: StudySpec) -> str:
        runner = runner_module.StudyRunner(Path("x"), spec, (), (), None, None, None)  # type: ignore[arg-type]
        return type(runner._pruner()).__name__

    searched = StudySpec("?", (knob("margin"),), ("in_batch",))
    assert of(searched) == "MedianPruner"
    assert of(replace(searched, seeds=(1, 2, 3))) == "WilcoxonPruner"
    assert of(replace(searched, protocol="grid")) == "NopPruner"


def test_a_study_of_a_corpus_of_fewer_than_ten_passages_ends(tmp_path: Path) -> None:
    place, passages = tmp_path / "few", [f"{word} {number}" for number, word in enumerate(WORDS[:6])]
    place.mkdir()
    (place / "corpus.tsv").write_text("".join(f"{passage}\n" for passage in passages))
    for name in ("train", "dev", "test"):
        rows = [f"{name} {passage}\t{passage}\n" for passage in passages]
        (place / f"{name}.tsv").write_text("".join(rows))
    small = ["eval.ks=[1]", "eval.retrieve=3"]
    given = [word for word in words(place, tmp_path / "runs") if not word.startswith("eval.")]
    assert bench("study", "margin", "trials=1", *given, *small) == 0
    assert result(tmp_path / "runs")["selected_by"] == "dev exact/mrr@3"


def test_poolings_of_an_encoder_that_is_not_trained_need_no_pairs_to_train_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(0)
    sentences = [" ".join(rng.sample(WORDS, 6)) for _ in range(300)]
    rows = [f"{a}\t{b}\t{len({*a.split()} & {*b.split()})}" for a, b in pairwise(sentences)]
    (tmp_path / "STS").mkdir()
    (tmp_path / "STS" / "test.tsv").write_text("\n".join(rows))
    given = [word for word in words(tmp_path / "STS", tmp_path / "runs") if not word.startswith("budget.")]
    assert bench("study", "similarity_pooling", *given) == 0
    told = result(tmp_path / "runs")
    (arm,) = told["arms"]
    assert (arm["complete"], arm["failed"]) == (8, 4), "vectors of 128 values have no 256"
    labels = {row["label"] for row in told["comparison"]["rows"]}
    assert len(labels) == 8 and "mnr post=whitening pooling=pooler_linear" in labels
    assert any("(transductive)" in note and "post=none" not in note for note in told["comparison"]["notes"])
    assert "encoder.post=whitening-256, but the vectors of encoder=scratch have 128 values" in caplog.text
