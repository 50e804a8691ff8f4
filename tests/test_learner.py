"""Kinds of training that no strategy has yet: a head with weights of its own, and pairs with a class or a score.

Two throw-away strategies and two throw-away declarations show that the engine carries them: they train, are
checkpointed, resume bit-equal and go through the gradient cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ranks import together
from torch import Tensor, nn
from toys import CPU, DATA, Training

from bench.model.embedding import encode
from bench.negatives import check
from bench.train.example_set import ExampleSet
from bench.train.examples import LabelledExamples, Texts, examples_of
from bench.train.step import random_state, set_random_state
from bench.train.telemetry import measure
from bench.train.world import World
from strategies import LabelledBatch, Loss, Strategy, registered
from strategies.base import knob
from strategies.examples import Examples
from strategies.losses import cross_entropy


@dataclass(frozen=True)
class ThrowAwayPairs(Examples):
    """Pairs of a query and a passage, of which every second is a true one; ``classes`` instead of scores."""

    classes: bool = False


@examples_of.register
def _throw_away(declared: ThrowAwayPairs, texts: Texts) -> ExampleSet:
    """Passages stand behind the queries in one store of tokens."""
    both = texts.cut([*texts.data.queries, *texts.data.passages])
    train = texts.data.splits["train"]
    left = np.repeat(train.queries, 2)
    right = np.stack([train.relevant.values[train.relevant.offsets[:-1]], (train.queries * 7 + 3) % 80], 1).ravel()
    kind = np.int64 if declared.classes else np.float32
    label = np.tile(np.array([1, 0], dtype=kind), len(train))
    return LabelledExamples(both, left, right + len(texts.data.queries), label)


@dataclass(frozen=True)
class Scored(Strategy):
    """Squared error of the cosine of each pair against its score."""

    name = "scored"
    examples = ThrowAwayPairs()

    def loss(self, batch: LabelledBatch) -> Loss:
        return Loss((batch.similarity - batch.label).square())


@dataclass(frozen=True)
class Classified(Strategy):
    """Softmax over a linear layer on [u, v, |u - v|] of the vectors before they are normalised."""

    name = "classified"
    examples = ThrowAwayPairs(classes=True)

    def head(self, dim: int) -> nn.Module:
        return nn.Linear(3 * dim, 2)

    def loss(self, batch: LabelledBatch) -> Loss:
        assert batch.head is not None
        u, v = batch.left_raw, batch.right_raw
        return Loss(F.cross_entropy(batch.head(torch.cat([u, v, (u - v).abs()], 1)), batch.label, reduction="none"))


@dataclass(frozen=True)
class Tempered(Strategy):
    """In-batch cross-entropy whose scale is learnt: a head on a batch of queries and passages."""

    name = "tempered"
    scale: float = knob(20.0, low=5.0, high=100.0, source="nowhere")

    def head(self, dim: int) -> nn.Module:
        return nn.ParameterDict({"log_scale": nn.Parameter(torch.tensor(self.scale).log())})

    def loss(self, batch: LabelledBatch) -> Loss:
        assert isinstance(batch.head, nn.ParameterDict)
        return Loss(cross_entropy(batch, 1.0) * 0 + cross_entropy(batch, batch.head["log_scale"].exp()))


KINDS: list[Callable[[], Strategy]] = [Scored, Classified, Tempered]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Callable[[], Strategy]:
    found: Callable[[], Strategy] = request.param
    return found


def weights(training: Training) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in training.encoder.state_dict().items()}


def test_it_trains_and_the_loss_falls(kind: Callable[[], Strategy], tmp_path: Path) -> None:
    training = Training(kind(), directory=tmp_path, epochs=8, lr=3e-3, dropout=0.0)
    training.fit()
    losses = [event["loss"] for event in training.events]
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3]), losses


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_gradient_cache_gives_the_gradient_of_the_whole_batch(kind: Callable[[], Strategy], dropout: float) -> None:
    training = Training(kind(), dropout=dropout, micro_batch=5)
    start = random_state(CPU)
    gradients = []
    for cached in (True, False):
        set_random_state(start, CPU)
        gradients.append(training.gradients(cached))
    assert gradients[0].keys() == gradients[1].keys()
    assert any(name.startswith("head.") for name in gradients[0]) == (kind is not Scored)
    for name, gradient in gradients[0].items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-4 * largest + 1e-7)


def test_killed_it_resumes_bit_equal_head_included(kind: Callable[[], Strategy], tmp_path: Path) -> None:
    def training(place: str) -> Training:
        return Training(kind(), directory=tmp_path / place, max_steps=9, save_every=4)

    whole, killed, resumed = training("whole"), training("killed"), training("killed")
    whole.fit()

    def kill(step: int) -> None:
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.fit(on_step=kill)
    torch.manual_seed(99)
    resumed.fit()
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[key]), key
    states = [torch.load(tmp_path / place / "last.pt", weights_only=True)["learner"] for place in ("whole", "killed")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(key.startswith("head.") for key in states[0]) == (kind is not Scored)


def test_the_best_weights_on_dev_are_the_head_s_too(tmp_path: Path) -> None:
    training = Training(Classified(), directory=tmp_path, max_steps=6, eval_every=2, save_every=2)
    values = iter([3.0, 2.0, 1.0])
    training.fit(evaluate=lambda: {"exact/mrr@10": next(values)})
    best = torch.load(tmp_path / "best.pt", weights_only=True)["learner"]
    assert {"head.weight", "head.bias"} <= best.keys()
    for key, value in weights(training).items():
        assert torch.equal(value, best[f"encoder.{key}"])


def test_two_ranks_give_the_gradient_of_one_device(kind: Callable[[], Strategy]) -> None:
    trainings = [Training(kind(), dropout=0.0) for _ in range(3)]
    stages = [(t, t.objective(t.strategy, t.directory), t.learner(t.strategy)) for t in trainings]

    def gradients(world: World) -> dict[str, Tensor]:
        from bench.train.step import Stepper

        _, objective, learner = stages.pop()
        Stepper(learner, objective, "fp32", None, world).backward(np.arange(11), None)
        return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}

    (alone,) = together(1, gradients)
    for of_rank in together(2, gradients):
        for name, gradient in of_rank.items():
            largest = alone[name].abs().max().item()
            torch.testing.assert_close(gradient, alone[name], rtol=0, atol=1e-4 * largest + 1e-7)


def test_labelled_pairs_have_a_telemetry_of_their_own_and_nothing_of_negatives(tmp_path: Path) -> None:
    training = Training(Scored(), directory=tmp_path, max_steps=5, dropout=0.0)
    done = training.fit()
    row = training.events[-1]
    assert {"loss", "pair_similarity", "pair_similarity_p50", "active", "spread", "uniformity"} <= row.keys()
    assert not [name for name in row if "negative" in name or "hardest" in name or name == "positive_rank"]
    assert not done.warnings


def test_the_measures_of_labelled_pairs_are_their_definitions() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (F.normalize(torch.randn(6, 4, generator=generator, dtype=torch.float64), dim=-1) for _ in range(2))
    batch = LabelledBatch(left, right, left, right, torch.ones(6))
    told = measure(batch, Loss(torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0, 0.0])))
    cosines = [float(sum(a * b for a, b in zip(u, v, strict=True))) for u, v in zip(left, right, strict=True)]
    assert told["pair_similarity"].item() == pytest.approx(np.mean(cosines))
    assert told["active"].item() == pytest.approx(2 / 6)
    spread = [np.std([float(u @ v) for v in right]) for u in left]
    assert told["spread"].item() == pytest.approx(np.mean(spread))


def test_a_strategy_of_labelled_pairs_passes_the_check_of_the_data() -> None:
    check(Scored(), DATA)


def test_the_head_is_no_part_of_the_encoder(tmp_path: Path) -> None:
    training = Training(Classified(), directory=tmp_path, max_steps=2)
    before = set(training.encoder.state_dict())
    training.fit()
    assert set(training.encoder.state_dict()) == before
    assert encode(training.encoder, training.queries, "fp32").shape[1] == training.encoder.dim


def test_no_registered_strategy_has_a_head_yet() -> None:
    assert all(kind().head(8) is None for kind in registered().values())
