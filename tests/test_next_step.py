"""After a run: what its table recommends at which cost, and the command that comes next, which works as it stands."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from records import LEVELS, Runs, run
from tiny import bench
from tiny_runs import runs_in, words

from bench.commands.next_step import next_step, recommendation
from bench.commands.run import unequal_stages
from bench.config.overrides import expand, resolve
from bench.config.run import RunConfig
from reports.verdict import verdict


def on_b(runs: Runs) -> Runs:
    """The same on a data set ``b``."""
    b = {"name": "b", "fingerprint": "b", "counts": {}}
    moved = [
        replace(r, run_id=f"b-{r.run_id}", data=b, config={**r.config, "data": {"name": "b"}}) for r in runs.records
    ]
    runs.values = {f"b-{run_id}": values for run_id, values in runs.values.items()}
    runs.records = moved
    return runs


def command(line: str) -> list[str]:
    return shlex.split(line[line.index(": bench ") + 2 :])


@pytest.mark.parametrize(
    ("given", "strategy", "expected"),
    [
        ((), "hardest_neg", {"hardest_neg", "in_batch"}),
        (("strategy=in_batch", "seed=4"), "in_batch", {"hardest_neg", "in_batch"}),
        (("strategy=hardest_neg", "strategy.margin=0.1", "train.lr=1e-3"), "hardest_neg", {"hardest_neg", "in_batch"}),
        (("strategy=in_batch", "strategy.margin=0.7"), "in_batch", {"hardest_neg", "in_batch"}),
        (("stages=simcse,mnr", "budget.texts=900"), "simcse+mnr", {"simcse+mnr", "in_batch"}),
    ],
)
def test_after_one_run_the_next_compares_it_with_another_strategy(
    given: tuple[str, ...], strategy: str, expected: set[str]
) -> None:
    ran = resolve(next(expand(given)))
    (record,) = Runs({strategy: 0.5}, seeds=(ran.seed,)).records
    line = next_step([*given, "runs_dir=/elsewhere/my runs"], [record], Path("/elsewhere/my runs"))
    configs = list[RunConfig]()
    for part in line.partition(": ")[2].split(" && "):
        begin, then, *rest = shlex.split(part)
        assert (begin, then) == ("bench", "run") and "runs_dir=/elsewhere/my runs" in rest
        configs += [resolve(single) for single in expand([w for w in rest if not w.startswith("runs_dir")])]
    assert {config.strategy.name for config in configs} == expected and len(configs) == 3 * len(expected)
    assert ran.seed in {config.seed for config in configs}
    assert ran in configs, "the run that is there already is one of them, so it is skipped"
    assert all(config.train.lr == ran.train.lr for config in configs)


@pytest.mark.parametrize("length", ["train.max_steps=9", "train.stage_steps=[9,9]"])
def test_several_stages_and_the_other_strategy_get_one_budget(length: str) -> None:
    words = ["stages=simcse,mnr", length, "train.lr=1e-3"]
    (record,) = Runs({"simcse+mnr": 0.5}, seeds=(0,)).records
    record = replace(record, selection={**record.selection, "steps": 18})
    said = command(next_step(words, [record], Path("runs")))
    configs = [resolve(single) for single in expand(said[2:])]
    assert {(c.strategy.name, c.budget.steps, c.train.max_steps, c.train.stage_steps, c.train.lr) for c in configs} == {
        (name, 18, None, None, 1e-3) for name in ("simcse+mnr", "in_batch")
    }


@pytest.mark.parametrize("where", ["runs", "/elsewhere/my runs"])
def test_after_several_the_next_compares_or_reports_them(where: str) -> None:
    place = [] if where == "runs" else ["--runs-dir", where]
    one_seed = next_step(["strategy=mnr,in_batch"], Runs(LEVELS, seeds=(0,)).records, Path(where))
    assert command(one_seed) == ["bench", "compare", "data=faq", "eval.split=test", *place]
    assert "seed=0,1,2" in one_seed
    several = next_step(["strategy=mnr,in_batch", "seed=1,2"], Runs(LEVELS).records, Path(where))
    assert command(several) == ["bench", "report", "--out", "report", *place]


def test_the_next_comparison_selects_what_ran() -> None:
    words = ["strategy=mnr,in_batch", "eval.split=dev", "budget.texts=900", "train.lr=1e-3"]
    said = command(next_step(words, Runs(LEVELS, seeds=(0,), split="dev").records, Path("runs")))
    assert said == ["bench", "compare", "data=faq", "eval.split=dev", "budget.texts=900"]


@pytest.mark.parametrize(
    ("mixed", "allowed"),
    [
        (Runs(LEVELS, (0,), split="dev"), ""),  # data without a test split: eval.split is still test
        (Runs(LEVELS, (0,)).add(on_b(Runs(LEVELS, (0,)))), ""),
        (Runs(LEVELS, (0,)).add(Runs({"queue": 0.5}, (0,), invalid="never used", selection={"steps": 1})), ""),
        (Runs({"mnr": 0.5}, (0,)).add(Runs({"in_batch": 0.5}, (0,), selection={"steps": 200})), "budget"),
        (Runs({"mnr": 0.5}, (0,)).add(Runs({"in_batch": 0.5}, (0,), encoder={"name": "other"})), "encoder"),
    ],
)
def test_the_next_comparison_works_as_it_stands_on_one_data_set(
    mixed: Runs, allowed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = next_step(["strategy=mnr,in_batch"], mixed.records, mixed.write(tmp_path))
    assert line.partition(" --allow ")[2].partition(" ")[0] == allowed
    assert bench(*command(line)[1:]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "start with" in shown and "data=b" not in shown


def test_after_runs_that_are_all_invalid_the_next_is_other_settings() -> None:
    records = [run("queue", seed, invalid="the queue was never used") for seed in (1, 2)]
    said = next_step(["strategy=queue", "seed=1,2"], records, Path("runs"))
    assert "invalid" in said and "bench " not in said


def test_of_equal_rows_the_one_of_fewest_texts_is_named_everywhere(tmp_path: Path) -> None:
    runs = Runs({"bm25_hard": 0.5, "in_batch": 0.5}, seeds=(1,))
    texts = {"bm25_hard": 2027.0, "in_batch": 2000.0}
    runs.records = [
        replace(r, metrics={"recall@1": 3.0}, cost={"texts_encoded": texts[r.strategy]}) for r in runs.records
    ]
    sentence, _ = recommendation(runs.records, runs.write(tmp_path))
    assert sentence.startswith("Start with `in_batch`") and "which other rows have too" in sentence
    (told,) = verdict(runs.compare(), "in_batch")
    highest = "start with `in_batch`: it has the highest recall@1, 3.0, which other rows have too"
    assert f"{highest}, and encodes the fewest texts of these." in told
    runs.records = [replace(r, cost={"texts_encoded": 2000.0}) for r in runs.records]
    (told,) = verdict(runs.compare(), "in_batch")
    assert "the highest recall@1, 3.0, which other rows have too." in told, "all encode as many"
    runs.records = [replace(r, cost={"texts_encoded": 9e3} if r.strategy == "in_batch" else {}) for r in runs.records]
    (told,) = verdict(runs.compare(), "in_batch")
    assert "start with `in_batch`" in told, "a cost that was not recorded is not the lowest"


def test_the_next_comparison_allows_the_budgets_that_differ() -> None:
    records = [run("mnr", 1), run("in_batch+mined_hard", 1, selection={"steps": 200})]
    assert command(next_step(["strategy=mnr,in_batch+mined_hard"], records, Path("runs")))[-2:] == ["--allow", "budget"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["strategy=in_batch,in_batch+mined_hard"], "in_batch+mined_hard trains longer than in_batch, "),
        (["strategy=in_batch,in_batch+mined_hard", "budget.texts=9000"], ""),
        (["strategy=in_batch,in_batch+mined_hard", "train.patience=2"], ""),
        (["strategy=in_batch,mined_hard"], ""),
    ],
)
def test_a_sweep_whose_rows_train_for_unequal_lengths_says_so_before_it_starts(words: list[str], told: str) -> None:
    found = unequal_stages([resolve(single) for single in expand(words)])
    assert found.startswith(told) and bool(found) == bool(told)


def test_the_recommendation_has_its_cost_and_its_command(tmp_path: Path) -> None:
    runs = Runs(LEVELS)
    runs.records = [
        replace(r, cost={"texts_encoded": 64e3 if r.strategy == "mined_hard" else 6400}) for r in runs.records
    ]
    sentence, commands = recommendation(runs.records, runs.write(tmp_path))
    assert sentence.startswith("No clear winner: start with `in_batch`, the cheapest statistically tied row.")
    assert commands == (
        "# in_batch",
        "bench run strategy=in_batch seed=1,2,3",
        "# mined_hard",
        "bench run strategy=mined_hard seed=1,2,3",
    )


def test_one_seed_says_what_to_start_with_and_that_it_may_be_chance(tmp_path: Path) -> None:
    runs = Runs(LEVELS, seeds=(1,))
    sentence, commands = recommendation(runs.records, runs.write(tmp_path))
    best = max(runs.records, key=lambda record: record.metrics["recall@1"] or 0.0)
    value = best.metrics["recall@1"] or 0.0
    assert sentence.startswith(
        f"Start with `{best.strategy}`: recall@1 {value:.1f} ({value - 20:+.1f} over the encoder before training), "
        "for 6,400 texts encoded"
    )
    assert "may be chance: with one seed it cannot be tested" in sentence
    assert commands == (f"bench run strategy={best.strategy} seed=1",)


def test_one_row_recommends_nothing_and_rows_that_may_not_be_compared_say_so(tmp_path: Path) -> None:
    assert recommendation(Runs({"mnr": 0.5}).records, tmp_path) == ("", ())
    apart = Runs({"mnr": 0.5}).add(Runs({"in_batch": 0.5}, encoder={"name": "other"}))
    said = "There is no recommendation: these runs cannot be compared: they differ in encoder."
    assert recommendation(apart.records, tmp_path) == (said, ())


def test_the_runs_of_a_sweep_have_what_varies_in_their_names(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path, train__lr="1e-3,2e-3", strategy__margin="0.1", train__max_steps="1")) == 0
    out, err = capsys.readouterr()
    for name in ("in_batch lr=0.001", "in_batch lr=0.002"):
        assert sum(line.startswith(f"{name} ") for line in out.splitlines()) == 1
        assert f"{name} seed 0: recall@1" in err


def test_a_run_ends_with_the_next_command_and_results_stay_apart(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path, strategy="in_batch", eval__untrained="false")) == 0
    out, err = capsys.readouterr()
    line = err.splitlines()[-1]
    assert line.startswith("next, ") and "bench run strategy=in_batch,hardest_neg seed=0,1,2" in line
    assert "next, " not in out and out.splitlines()[-1] == str(next(iter(runs_in(tmp_path).values())))
    assert bench(*words(data, tmp_path, strategy="in_batch,hardest_neg", seed="0,1", eval__untrained="false")) == 0
    out, err = capsys.readouterr()
    assert command(err.splitlines()[-1]) == ["bench", "report", "--out", "report", "--runs-dir", str(tmp_path)]
    assert "texts encoded" in out or "cost" in out
    assert "\nbench run " in out
