"""Training against a plain loop, and what it does when it goes wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import MNR, Training

from bench.data.dataset import Ragged, Split
from bench.data.pairs import Pairs
from bench.data.sampler import batch_rows
from bench.errors import UserError
from bench.model.embedding import encode, weights_digest
from bench.model.packing import pack
from bench.negatives import NegativeSampler
from bench.train.config import TrainConfig
from bench.train.learner import Learner
from bench.train.state import Progress
from bench.train.step import Objective
from bench.train.trainer import Conditions, Hooks, Trainer, TrainingStopped
from strategies import Batch, Loss
from strategies.negatives import InBatch


def fit(training: Training, evaluate: Callable[[], dict[str, float]] | None = None, **config: Any) -> Progress:
    """Train with settings that the toy does not have."""
    settings = {"batch_size": 8, "lr": 1e-3, "eval_every": 0, "log_every": 1, **config}
    hooks = Hooks(event=training.events.append, evaluate=evaluate, selection="exact/mrr@10")
    objective = Objective(training.strategy, training.examples, NegativeSampler())
    conditions = Conditions(0, training.precision, training.directory)
    return Trainer(Learner(training.encoder), objective, TrainConfig(**settings), conditions, hooks).fit()


def weights(training: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in training.encoder.state_dict().items()}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def freeze_key_biases(training: Training) -> None:
    """Their gradient is zero but for rounding, of which Adam makes whole steps."""
    for name, parameter in training.encoder.named_parameters():
        parameter.requires_grad_(not re.search(r"\.key\.bias$", name))


def test_training_is_a_plain_loop(tmp_path: Path) -> None:
    """Schedule, clipping, decay, masks and AdamW, written out; each text goes through the model alone."""
    steps, lr, decay, warm, clip = 6, 2e-3, 0.3, 2, 0.5
    engine, plain = (Training(MNR, dropout=0.0, directory=tmp_path) for _ in range(2))
    for training in (engine, plain):
        freeze_key_biases(training)
    fit(engine, max_steps=steps, lr=lr, weight_decay=decay, warmup=warm, clip=clip)

    encoder, pairs = plain.encoder, plain.pairs
    trained = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    for step in range(steps):
        rows = batch_rows(len(pairs), 8, 0, step)
        passages = sorted(set(pairs.positive[rows].tolist()))
        queries, candidates = (
            torch.cat([encoder(pack([(tokens, np.array([text]))])).unit for text in texts])
            for tokens, texts in ((plain.queries, pairs.query[rows]), (plain.passages, passages))
        )
        losses = []
        for place, row in enumerate(rows):
            relevant = set(pairs.split.relevant[int(np.flatnonzero(pairs.split.queries == pairs.query[row])[0])])
            scores = MNR.scale * candidates @ queries[place]
            own = passages.index(pairs.positive[row])
            kept = [c for c, passage in enumerate(passages) if c == own or passage not in relevant]
            losses.append(torch.logsumexp(scores[kept], 0) - scores[own])
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in trained if p.grad is not None))
        for parameter in trained:
            if parameter.grad is not None:
                parameter.grad *= min(1.0, clip / norm)
        for group in optimizer.param_groups:
            group["lr"] = lr * ((step + 1) / 3 if step < warm else (steps - step) / 4)
        optimizer.step()
        assert engine.events[step]["gradient_norm"] == pytest.approx(norm, rel=1e-3)
        assert engine.events[step]["loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)
    for name, value in weights(engine).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_evaluation_neither_stops_dropout_nor_moves_the_randomness(tmp_path: Path) -> None:
    watched, alone = (Training(MNR, directory=tmp_path / name) for name in ("a", "b"))
    rising = iter(range(10))

    def evaluate() -> dict[str, float]:
        encode(watched.encoder, watched.passages, "fp32")
        assert watched.encoder.training, "encode puts dropout back on"
        return {"exact/mrr@10": next(rising)}

    fit(watched, evaluate, max_steps=4, eval_every=1)
    fit(alone, max_steps=4)
    assert next(rising) == 4 and equal(weights(watched), weights(alone))


@pytest.mark.parametrize(("values", "best"), [((1, 3, 2), 4), ((3, 3, 1), 2), ((1, 2, 3), 6)])
def test_the_weights_of_the_best_evaluation_are_kept_the_earlier_of_two(
    tmp_path: Path, values: tuple[int, ...], best: int
) -> None:
    training = Training(MNR, directory=tmp_path)
    seen: dict[int, dict[str, Tensor]] = {}

    def evaluate() -> dict[str, float]:
        seen[2 * len(seen) + 2] = weights(training)
        return {"exact/mrr@10": values[len(seen) - 1]}

    done = fit(training, evaluate, max_steps=6, eval_every=2)
    assert (done.step, done.best_step, done.best_value) == (6, best, max(values))
    assert list(seen) == [2, 4, 6] and equal(weights(training), seen[best])
    assert not equal(seen[2], seen[4]), "an evaluation sees the weights of its step"
    told = [event["dev/exact/mrr@10"] for event in training.events if "dev/exact/mrr@10" in event]
    assert told == list(values)


@pytest.mark.parametrize(
    ("patience", "values", "steps", "best"),
    [(2, (1, 3, 2, 3, 9), 8, 4), (1, (1, 3, 2, 9), 6, 4), (3, (1, 3, 2, 3, 4), 10, 10), (2, (1, 2, 3, 4, 4), 10, 8)],
)
def test_training_ends_when_dev_has_not_improved_for_long(
    patience: int, values: tuple[int, ...], steps: int, best: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    training, left = Training(MNR, directory=tmp_path), iter(values)
    settings = {"max_steps": 10, "eval_every": 2, "patience": patience, "log_every": 3}
    done = fit(training, lambda: {"exact/mrr@10": next(left)}, **settings)
    assert (done.step, done.best_step) == (steps, best)
    assert done.totals["gradient_norm"][1] == steps, "telemetry is of all steps"
    assert [event["step"] for event in training.events if "loss" in event][-1] == steps
    assert (f"dev has not improved since step {best}: training ends at step {steps}" in caplog.text) == (steps < 10)

    def never() -> dict[str, float]:
        raise AssertionError("a run that was killed after its last evaluation goes on training")

    again = fit(Training(MNR, directory=tmp_path), never, **settings)
    assert (again.step, again.best_step) == (steps, best)


def test_patience_that_can_never_end_training_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place, patience in (("a", 2), ("b", 1)):
        fit(
            Training(MNR, directory=tmp_path / place),
            lambda: {"exact/mrr@10": 1},
            max_steps=4,
            eval_every=2,
            patience=patience,
        )
        told = "train.patience=2 cannot end training early: dev is searched every 2 of 4 steps"
        assert (told in caplog.text) == (patience == 2)
        caplog.clear()


def test_steps_that_the_epochs_do_not_have_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = fit(Training(MNR, directory=tmp_path / "whole")).step
    for more in (0, 1):
        assert fit(Training(MNR, directory=tmp_path / str(more)), max_steps=whole + more).step == whole
        told = f"training ends after {whole} of train.max_steps={whole + 1} steps"
        assert (told in caplog.text) == (more == 1)


@pytest.mark.parametrize("clip", [0.0, 0.25])
def test_clipping_bounds_the_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float) -> None:
    training, norms = Training(MNR, directory=tmp_path), []
    step = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in gradients)))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    fit(training, max_steps=4, clip=clip)
    before = [event["gradient_norm"] for event in training.events]
    assert min(before) > 0.25, "else nothing is clipped here"
    assert norms == pytest.approx([clip] * 4 if clip else before, rel=1e-4)


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_recomputing_activations_changes_no_gradient(tmp_path: Path, micro_batch: int | None) -> None:
    runs = []
    for recompute in (False, True):
        training = Training(MNR, directory=tmp_path / str(recompute), dropout=0.2)
        assert fit(training, max_steps=3, recompute=recompute, micro_batch=micro_batch).step == 3
        assert not training.encoder.transformer.is_gradient_checkpointing
        runs.append(weights(training))
    for name, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][name], rtol=1e-5, atol=1e-7)


def test_recomputing_is_on_while_training_and_off_after_a_failure(tmp_path: Path) -> None:
    training = Training(MNR, directory=tmp_path)
    seen = []

    def evaluate() -> dict[str, float]:
        seen.append(training.encoder.transformer.is_gradient_checkpointing)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(training, evaluate, max_steps=2, eval_every=1, recompute=True)
    assert seen == [True] and not training.encoder.transformer.is_gradient_checkpointing


def test_bf16_trains_like_fp32(tmp_path: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        training = Training(MNR, directory=tmp_path / precision, precision=precision, dropout=0.0)
        fit(training, max_steps=6)
        assert all(torch.isfinite(value).all() and value.dtype == torch.float32 for value in weights(training).values())
        losses.append([event["loss"] for event in training.events])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert losses[0] != losses[1], "bf16 was really used"


@pytest.mark.parametrize("nothing", [{"max_steps": 0}, {"epochs": 0}])
def test_no_steps_leave_the_encoder_as_it_was(tmp_path: Path, nothing: dict[str, int]) -> None:
    training = Training(MNR, directory=tmp_path / "none")
    before = weights(training)
    assert fit(training, **nothing) == Progress()
    training.pairs = Pairs(Split(np.empty(0, np.int64), Ragged.of([])))
    assert fit(training, **nothing) == Progress(), "an evaluation alone needs no pairs"
    assert equal(weights(training), before) and not (tmp_path / "none").exists() and not training.events


def test_nothing_to_train_on_is_told() -> None:
    training = Training(MNR)
    training.pairs = Pairs(Split(np.empty(0, np.int64), Ragged.of([])))
    with pytest.raises(UserError, match="no training pair"):
        fit(training)


# When training goes wrong


def test_a_resume_keeps_the_best_of_before_the_kill(tmp_path: Path) -> None:
    def run(name: str, stop: int | None = None) -> tuple[Progress, dict[str, Tensor]]:
        training = Training(MNR, directory=tmp_path / name)

        def evaluate() -> dict[str, float]:
            if training.events and training.events[-1]["step"] == stop:
                raise KeyboardInterrupt
            return {"exact/mrr@10": int(weights_digest(training.encoder), 16) % 1000}

        done = fit(training, evaluate, max_steps=8, eval_every=2)
        return replace(done, seconds=0.0), weights(training)

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("killed", stop=6)
    resumed = run("killed")
    assert resumed[0] == whole[0] and equal(resumed[1], whole[1])


@dataclass
class Breaking:
    """A strategy that does ``harm`` to the losses of its fourth batch."""

    harm: Callable[[Tensor], Tensor]
    calls: int = 0
    negatives = InBatch()

    def loss(self, batch: Batch) -> Loss:
        self.calls += 1
        losses = MNR.loss(batch).per_example
        return Loss(self.harm(losses) if self.calls == 4 else losses)


@pytest.mark.parametrize(
    "harm",
    [
        lambda losses: losses * math.nan,
        lambda losses: losses * math.inf,
        lambda losses: losses + (losses - losses.detach()).abs().sqrt(),
    ],
    ids=["nan", "inf", "only the gradient is nan"],
)
@pytest.mark.parametrize("save_every", [1, 2])
def test_a_loss_that_is_not_finite_stops_training_and_is_not_saved(
    tmp_path: Path, harm: Callable[[Tensor], Tensor], save_every: int
) -> None:
    training = Training(Breaking(harm), directory=tmp_path)
    with pytest.raises(TrainingStopped, match=r"at step 4; lower train\.lr=0\.001, or use train\.precision=fp32"):
        fit(training, max_steps=8, save_every=save_every)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["progress"]["step"] == {1: 3, 2: 2}[save_every]
    for value in [*state["learner"].values(), *training.encoder.state_dict().values()]:
        assert torch.isfinite(value).all()


def test_a_collapse_stops_training(tmp_path: Path) -> None:
    training = Training(MNR, directory=tmp_path)
    last = training.encoder.transformer.encoder.layer[-1].output.LayerNorm
    last.weight.data.zero_()
    last.bias.data.normal_()
    with pytest.raises(TrainingStopped, match=r"all embeddings have become equal by step 3 .*lower train\.lr"):
        fit(training, lr=0.0, log_every=3, save_every=1)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["progress"]["step"] == 2


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"not a checkpoint", lambda b: b[: len(b) // 2]])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    fit(Training(MNR, directory=tmp_path), max_steps=2)
    path = tmp_path / "last.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"last\.pt: not a readable checkpoint .*delete it to start"):
        fit(Training(MNR, directory=tmp_path), max_steps=4)
