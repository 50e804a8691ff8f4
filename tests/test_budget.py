"""One budget for every strategy: what ends a training, what counts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import PASSAGES, bench, words_for

from bench.config.overrides import rebuild, resolve
from bench.errors import UserError
from bench.record.identity import run_id
from bench.record.record import Record
from bench.train.budget import BudgetConfig, Plan
from bench.train.state import Progress

BATCH = 8
MINED = 24 + PASSAGES  # texts that mining by the starting encoder embeds: training queries and the corpus


def run(data: Path, runs: Path, *words: str) -> Record:
    settings = words_for(data, runs)
    del settings["train.max_steps"]
    assert bench("run", *(f"{k}={v}" for k, v in settings.items()), "eval.untrained=false", *words) == 0
    (path,) = runs.glob("*/record.json")
    return Record.from_json(path.read_text(), path)


@pytest.mark.parametrize(
    "words",
    [
        ["strategy=in_batch"],
        ["strategy=mined_hard", "strategy.last=40", "strategy.n=2"],
        ["strategy=ance", "strategy.last=20", "strategy.refresh=3"],
        ["strategy=simcse_ibn", "strategy.simcse.texts=corpus"],
        ["strategy=guided"],
    ],
    ids=lambda words: words[0],
)
def test_a_budget_of_texts_holds_for_every_strategy(data: Path, tmp_path: Path, words: list[str]) -> None:
    record = run(data, tmp_path, "budget.texts=400", *words)
    texts, mined, steps = record.cost["texts_encoded"], record.cost["mine_texts"], record.selection["steps"]
    assert texts is not None and mined is not None
    a_step = 5 * BATCH
    a_search = MINED if "ance" in words[0] else 0
    assert 400 <= texts < 400 + a_step + a_search
    assert steps > 3
    assert (mined > 0) == (words[0] in ("strategy=mined_hard", "strategy=ance", "strategy=guided"))


@pytest.mark.parametrize(("word", "steps"), [("budget.steps=5", 5), ("budget.examples=33", 5), ("budget.steps=3", 3)])
def test_steps_and_examples_go_on_over_epochs(data: Path, tmp_path: Path, word: str, steps: int) -> None:
    record = run(data, tmp_path, word)  # an epoch has three steps
    assert record.selection["steps"] == steps
    assert record.cost["examples"] == steps * BATCH


def test_seconds_end_a_run_too(data: Path, tmp_path: Path) -> None:
    record = run(data, tmp_path, "budget.seconds=1")
    assert (record.cost["train_s"] or 0) >= 1
    assert record.selection["steps"] > 3


def test_stages_share_it_evenly(data: Path, tmp_path: Path) -> None:
    record = run(data, tmp_path, "budget.steps=7", "strategy=simcse_ibn", "strategy.simcse.texts=corpus")
    assert record.selection["steps"] == 7
    assert record.cost["examples"] == 7 * BATCH


def test_steps_by_budget_and_by_max_steps_are_the_same_training(data: Path, tmp_path: Path) -> None:
    by_budget = run(data, tmp_path / "a", "budget.steps=4")
    by_steps = run(data, tmp_path / "b", "train.max_steps=4")
    assert by_budget.metrics == by_steps.metrics
    assert by_budget.run_id != by_steps.run_id


def test_a_budget_that_mining_alone_spends_is_told_before_the_first_step(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{k}={v}" for k, v in words_for(data, tmp_path).items() if k != "train.max_steps"]
    assert bench("run", *words, "strategy=mined_hard", "strategy.last=40", f"budget.texts={MINED}") == 2
    assert f"mining or a guide took {MINED:,}; give more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["budget.steps=5", "budget.texts=5"], r"budget\.steps and budget\.texts are both set"),
        (["budget.steps=5", "train.max_steps=5"], r"train\.max_steps and a budget both set the end of training"),
        (["budget.texts=5", "train.warmup=10"], r"train\.warmup=10 counts steps"),
        (["budget.texts=0"], r"budget\.texts=0 must be at least 1"),
    ],
)
def test_contradictions_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(words)


def test_a_plan_tells_what_is_spent_and_how_many_steps_it_will_be() -> None:
    done = Progress(step=10, texts=500, seconds=3.0, mine_s=2.0, mine_texts=100)
    assert [Plan(unit, 1).spent(done) for unit in ("steps", "texts", "seconds")] == [10, 600, 5.0]  # type: ignore[arg-type]
    assert Plan("texts", 1200).steps(done) == 20
    assert BudgetConfig(texts=1000).plan(0.5, 32, Progress(texts=100)).total == 400


def test_records_from_before_keep_their_name_and_can_be_repeated() -> None:
    config = resolve(["strategy=mnr", "train.max_steps=5"])
    tree: dict[str, Any] = config.tree()
    del tree["budget"]
    assert run_id(tree, "f00d") == run_id(config.tree(), "f00d")
    assert rebuild(tree).tree() == config.tree()
