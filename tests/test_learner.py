"""A head with weights of its own, and pairs with a class or a score: checkpoints, best weights, ranks, telemetry.

What every registered strategy has to pass stands in ``test_strategies.py``. A throw-away one shows a head on a batch of
queries and passages.
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
from toys import CPU, Training

from bench.model.embedding import encode
from bench.train.step import random_state, set_random_state
from bench.train.telemetry import measure
from bench.world import World
from strategies import Batch, LabelledBatch, Loss, Strategy, registered
from strategies.base import knob
from strategies.losses import cross_entropy


@dataclass(frozen=True)
class Tempered(Strategy):
    """In-batch cross-entropy whose scale is learnt: a head on a batch of queries and passages."""

    name = "tempered"
    scale: float = knob(20.0, low=5.0, high=100.0, source="nowhere")

    def head(self, dim: int) -> nn.Module:
        return nn.ParameterDict({"log_scale": nn.Parameter(torch.tensor(self.scale).log())})

    def loss(self, batch: Batch) -> Loss:
        assert isinstance(batch.head, nn.ParameterDict)
        return Loss(cross_entropy(batch, 1.0) * 0 + cross_entropy(batch, batch.head["log_scale"].exp()))


Scored, Classified = registered()["cosent"], registered()["softmax_nli"]
KINDS: list[Callable[[], Strategy]] = [Classified, Tempered]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Callable[[], Strategy]:
    found: Callable[[], Strategy] = request.param
    return found


def weights(training: Training) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in training.encoder.state_dict().items()}


def test_the_loss_falls(kind: Callable[[], Strategy], tmp_path: Path) -> None:
    training = Training(kind(), directory=tmp_path, epochs=8, lr=3e-3, dropout=0.0)
    training.fit()
    losses = [event["loss"] for event in training.events]
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3]), losses


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_gradient_cache_gives_the_gradient_of_the_whole_batch(dropout: float) -> None:
    training = Training(Tempered(), dropout=dropout, micro_batch=5)
    start = random_state(CPU)
    gradients = []
    for cached in (True, False):
        set_random_state(start, CPU)
        gradients.append(training.gradients(cached))
    assert gradients[0].keys() == gradients[1].keys()
    assert any(name.startswith("head.") for name in gradients[0])
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
    assert any(key.startswith("head.") for key in states[0])


def test_the_best_weights_on_dev_are_the_head_s_too(tmp_path: Path) -> None:
    training = Training(Classified(), directory=tmp_path, max_steps=6, eval_every=2, save_every=2)
    values = iter([3.0, 2.0, 1.0])
    training.fit(evaluate=lambda: {"exact/mrr@10": next(values)})
    best = torch.load(tmp_path / "best.pt", weights_only=True)["learner"]
    assert {"head.weight", "head.bias"} <= best.keys()
    for key, value in weights(training).items():
        assert torch.equal(value, best[f"encoder.{key}"])


def test_two_ranks_give_the_gradient_of_one_device() -> None:
    trainings = [Training(Tempered(), dropout=0.0) for _ in range(3)]
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


def test_the_head_is_no_part_of_the_encoder(tmp_path: Path) -> None:
    training = Training(Classified(), directory=tmp_path, max_steps=2)
    before = set(training.encoder.state_dict())
    training.fit()
    assert set(training.encoder.state_dict()) == before
    assert encode(training.encoder, training.queries, "fp32").shape[1] == training.encoder.dim


def test_only_a_classifier_has_a_head() -> None:
    assert [name for name, kind in registered().items() if kind().head(8) is not None] == ["softmax_nli"]
