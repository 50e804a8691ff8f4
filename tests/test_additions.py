"""Additions to a loss: their formula, and that any strategy takes them and stays what it is otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from references import dot
from test_strategies import random_batch
from toys import Training

from bench.config.overrides import rebuild, resolve
from bench.errors import UserError
from bench.train.groups import Group, Groups
from strategies import LabelledBatch, Loss, additions, find, registered

BASES = ["mnr", "mined_hard", "guided", "queue", "cosent", "simbert", "similarity_distil"]


def spread(vectors: torch.Tensor, mean_weight: float, moment_weight: float) -> float:
    """The term of one side, by the formula."""
    cosines = [dot(a, b) for i, a in enumerate(vectors) for j, b in enumerate(vectors) if i != j]
    if not cosines:
        return 0.0
    mean, moment = sum(cosines) / len(cosines), sum(c * c for c in cosines) / len(cosines)
    return mean_weight * mean**2 + moment_weight * max(0.0, moment - 1 / vectors.shape[1])


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
def test_the_loss_is_that_of_the_strategy_and_the_term_of_the_formula(base: str, weights: tuple[float, float]) -> None:
    kind = find(f"{base}:spread_out")
    strategy = kind(**{"spread_out": additions()["spread_out"](*weights)})
    alone = registered()[base]()
    assert strategy.strategy == alone
    assert (strategy.negatives, strategy.examples, strategy.guide) == (alone.negatives, alone.examples, alone.guide)
    for seed in range(3):
        batch = random_batch(alone, seed)
        sides = (batch.left, batch.right) if isinstance(batch, LabelledBatch) else (batch.queries, batch.candidates)
        wanted = sum(spread(side, *weights) for side in sides) / 2
        loss, before = strategy.loss(batch), alone.loss(batch)
        assert wanted > 0 and loss.added.item() == pytest.approx(wanted, rel=1e-9)
        torch.testing.assert_close(loss.per_example, before.per_example, rtol=0, atol=0)
        torch.testing.assert_close(loss.value, before.value + wanted)
        assert loss.scalars["added"].item() == pytest.approx(wanted) and "added" not in before.scalars


def test_passages_of_a_queue_are_left_out() -> None:
    """They have no gradient, and would outweigh those of the batch."""
    batch = random_batch(registered()["mnr"]())
    old = torch.arange(len(batch.candidates)) % 2 == 1
    term = additions()["spread_out"]()
    assert term.term(replace(batch, queued=old)).item() == pytest.approx(
        (term._of_side(batch.queries) + term._of_side(batch.candidates[~old])).item() / 2
    )


def test_a_side_of_one_text_adds_nothing_and_has_no_gradient() -> None:
    one = torch.nn.functional.normalize(torch.randn(1, 4, dtype=torch.float64), dim=1).requires_grad_()
    term = additions()["spread_out"]()._of_side(one)
    term.backward()
    assert term.item() == 0 and one.grad is not None and not one.grad.any()


def test_the_addition_of_a_group_counts_by_its_examples() -> None:
    batch = random_batch(registered()["mnr"]())
    terms = ((torch.tensor([1.0, 2.0, 6.0]), torch.tensor(8.0)), (torch.tensor([3.0]), torch.tensor(4.0)))
    losses = [Loss(of_examples, added=added) for of_examples, added in terms]
    whole = Groups([Group(batch, loss, None) for loss in losses]).loss
    assert whole.value.item() == pytest.approx(0.75 * (3 + 8) + 0.25 * (3 + 4))


def test_the_texts_spread_when_nothing_else_is_learnt(tmp_path: Path) -> None:
    """Against the same loss without the addition, on the same batches."""
    spreads = {}
    for name in ("mnr", "mnr:spread_out"):
        training = Training(find(name)(), directory=tmp_path / name, max_steps=20, dropout=0.0)
        training.fit()
        spreads[name] = training.events[-1]["uniformity"]
        assert ("added" in training.events[-1]) == (name != "mnr")
    assert spreads["mnr:spread_out"] < spreads["mnr"]


# Words


def test_its_knobs_stand_behind_its_name() -> None:
    config = resolve(["strategy=mnr:spread_out", "strategy.spread_out.moment_weight=0.5", "strategy.scale=30"])
    assert config.strategy.spread_out.moment_weight == 0.5 and config.strategy.mnr.scale == 30.0
    assert rebuild(config.tree()).strategy == config.strategy
    assert config.run_id("x") != resolve(["strategy=mnr"]).run_id("x")
    assert config.run_id("x").startswith("mnr_spread_out-")


def test_a_stage_may_have_additions() -> None:
    config = resolve(["stages=simcse,mnr:spread_out", "strategy.mean_weight=0"])
    first, second = config.strategy.stages()
    assert first.name == "simcse" and second.name == "mnr:spread_out" and second.spread_out.mean_weight == 0
    assert rebuild(config.tree()).strategy == config.strategy


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("strategy=mnr:spred_out", "strategy=spred_out in mnr:spred_out is not registered.*spread_out"),
        ("strategy=spread_out", "spread_out is an addition to a loss; write strategy=NAME:spread_out"),
        ("strategy=mnr:mined_hard", "strategy=mined_hard in mnr:mined_hard is not registered"),
        ("strategy=simcse_ibn:spread_out", "simcse_ibn .a chain itself. cannot be a part of another; name its stages"),
    ],
)
def test_what_is_no_addition_is_told(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve([word])
