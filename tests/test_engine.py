"""The engine's parts against plain loops, and what it does when training goes wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toys import Training

from bench.data.dataset import Ragged, Split
from bench.data.order import batch_rows, steps_per_epoch
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.model.encode import encode
from bench.model.packing import by_length, pack
from bench.model.presets import weights_digest
from bench.negatives import Drawn, Source
from bench.train.config import TrainConfig
from bench.train.gather import Embedded, Gather, to_batch
from bench.train.loop import Hooks, Trainer, TrainingStopped
from bench.train.material import Material
from bench.train.optimizer import adamw, lr_at
from bench.train.state import Progress
from bench.train.telemetry import measure
from strategies import Batch, Loss, registered
from strategies.negatives import InBatch

plainly = settings(deadline=None, derandomize=True)
MNR = registered()["mnr"]()


@plainly
@given(st.integers(1, 60), st.one_of(st.floats(0, 0.99), st.integers(1, 80)))
def test_the_rate_rises_to_its_peak_and_falls_but_never_to_zero(total: int, warmup: float) -> None:
    warm = math.floor(warmup * total) if warmup < 1 else int(warmup)
    rates = [lr_at(step, total, 2.0, warmup) for step in range(total)]
    for step, rate in enumerate(rates):
        wanted = (step + 1) / (warm + 1) if step < warm else (total - step) / (total - warm)
        assert rate == pytest.approx(2.0 * wanted)
        assert 0 < rate <= 2.0
    if warm < total:
        assert rates[warm] == 2.0
        assert rates == [*sorted(rates[:warm]), *sorted(rates[warm:], reverse=True)]


def test_matrices_decay_and_vectors_do_not() -> None:
    encoder = Training(MNR).encoder
    optimizer = adamw(encoder.parameters(), 0.1, 0.3)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == sum(1 for _ in encoder.parameters())
    for name, parameter in encoder.named_parameters():
        vector = name.endswith("bias") or "LayerNorm" in name
        assert decay[id(parameter)] == (0.0 if vector else 0.3), name


@plainly
@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 2**31))
def test_each_epoch_is_another_permutation(pairs: int, size: int, seed: int) -> None:
    steps = steps_per_epoch(pairs, size)
    epochs = [[batch_rows(pairs, size, seed, epoch * steps + step) for step in range(steps)] for epoch in range(3)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(pairs))
        assert all(len(batch) == size for batch in batches[:-1])
        assert len(batches[-1]) == (pairs - 1) % size + 1


def test_epochs_and_seeds_differ_and_repeat() -> None:
    orders = [batch_rows(100, 100, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders == [batch_rows(100, 100, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]


labels = st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=8)


@plainly
@given(labels, st.data())
def test_relevance_of_a_batch_is_the_labels_of_its_queries(rows: list[set[int]], data: st.DataObject) -> None:
    ids = data.draw(st.permutations(range(20)))[: len(rows)]
    relevant = dict(zip(ids, rows, strict=True))
    pairs = Pairs(Split(np.array(ids), Ragged.of([sorted(row) for row in rows])))
    assert list(zip(pairs.query, pairs.positive, strict=True)) == [(q, p) for q in ids for p in sorted(relevant[q])]
    queries = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=9))
    passages = sorted(data.draw(st.sets(st.integers(0, 14), min_size=1)))
    wanted = [[p in relevant[q] for p in passages] for q in queries]
    assert pairs.relevant(np.array(queries), np.array(passages)).tolist() == wanted


def store(lengths: list[int], first: int) -> Tokens:
    """Texts whose tokens are all different, counted from ``first``."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(np.arange(first, first + offsets[-1], dtype=np.int32), offsets, 0)


parts_of_texts = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=9), min_size=1, max_size=3)


@plainly
@given(parts_of_texts, st.integers(1, 30), st.one_of(st.none(), st.floats(1, 3)))
def test_chunks_hold_each_text_once_within_their_bounds(
    lengths: list[list[int]], size: int, slack: float | None
) -> None:
    parts = [(store(part, 0), np.arange(len(part))) for part in lengths]
    every = [length for part in lengths for length in part]
    chunks = by_length(parts, size, slack)
    assert sorted(np.concatenate(chunks)) == list(range(len(every)))
    in_order = [every[i] for chunk in chunks for i in chunk]
    assert in_order == sorted(every)
    for chunk in chunks:
        assert 1 <= len(chunk) <= size
        if slack is not None:
            assert every[chunk[-1]] <= every[chunk[0]] * slack + 8


@plainly
@given(parts_of_texts, st.data())
def test_a_packed_batch_holds_its_texts_shortest_first(lengths: list[list[int]], data: st.DataObject) -> None:
    parts, texts = [], []
    for number, part in enumerate(lengths):
        tokens = store(part, 1000 * number)
        rows = data.draw(st.lists(st.integers(0, len(part) - 1), min_size=1, max_size=12))
        parts.append((tokens, np.array(rows)))
        texts += [tokens[row].tolist() for row in rows]
    order = data.draw(st.one_of(st.none(), st.lists(st.integers(0, len(texts) - 1), min_size=1)))
    chosen = texts if order is None else [texts[i] for i in order]
    packed = pack(parts, None if order is None else np.array(order))
    assert packed.lengths.tolist() == sorted(map(len, chosen))
    laid = [packed.ids[s : s + n].tolist() for s, n in zip(packed.starts, packed.lengths, strict=True)]
    assert [laid[i] for i in packed.restore] == chosen
    assert [token for text in laid for token in text] == packed.ids.tolist()
    assert packed.positions.tolist() == [place for text in laid for place in range(len(text))]
    assert packed.text_of_token.tolist() == [i for i, text in enumerate(laid) for _ in text]


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


PAIRS = Pairs(Split(np.arange(8), Ragged.of([[0, 9], [1], [2, 3], [3], [4, 0], [5], [6], [7]])))


def embedded(queries: list[int], own: bool) -> Embedded:
    """One device's part: each id always has the same embedding, as with one encoder."""
    positives = [int(PAIRS.split.relevant[q][0]) for q in queries]
    sampled = [[(q + 5) % 10, 9] for q in queries] if own else []
    passages = sorted({*positives, *(p for row in sampled for p in row)})
    return Embedded(
        unit(8, 6)[queries].requires_grad_(), unit(10, 6, seed=1)[passages].requires_grad_(),
        torch.tensor(queries), torch.tensor(positives), torch.tensor(passages),
        torch.tensor(sampled) if own else None,
    )  # fmt: skip


def gathering(mine: Embedded, everyone: list[Embedded]) -> Gather:
    """What a collective gives device ``mine``: the others' tensors without their graph, its own with it."""

    def gather(tensor: Tensor) -> list[Tensor]:
        (name,) = (f.name for f in fields(mine) if getattr(mine, f.name) is tensor)
        return [tensor if part is mine else getattr(part, name).detach() for part in everyone]

    return gather


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("split", [([0, 1, 4], [3, 2, 7, 6]), ([5, 4], [0, 2]), ([3], [3, 1])])
def test_devices_together_are_one_device(split: tuple[list[int], list[int]], own: bool) -> None:
    """[0, 1, 4] and [3, 2, ...] are alone with their passages; 4 and 0 share one, and 3 is on both."""
    union = embedded([*split[0], *split[1]], own)
    whole = to_batch(union, PAIRS)
    wanted = MNR.loss(whole)
    wanted.value.backward()
    columns = union.passage_ids.tolist()
    everyone = [embedded(queries, own) for queries in split]
    begin, seen = 0, set()
    for mine in everyone:
        batch = to_batch(mine, PAIRS, gathering(mine, everyone))
        for name in ("queries", "candidates", "positive", "relevant", "own"):
            torch.testing.assert_close(getattr(batch, name), getattr(whole, name), rtol=0, atol=0)
        loss = MNR.loss(batch)
        torch.testing.assert_close(loss.per_query, wanted.per_query)
        loss.value.backward()
        end = begin + len(mine.queries)
        torch.testing.assert_close(mine.queries.grad, union.queries.grad[begin:end])
        for row, passage in enumerate(mine.passage_ids.tolist()):
            gradient = union.passages.grad[columns.index(passage)]
            first = passage not in seen
            torch.testing.assert_close(mine.passages.grad[row], gradient if first else torch.zeros_like(gradient))
        seen |= set(mine.passage_ids.tolist())
        begin = end


@pytest.mark.parametrize("seed", range(4))
def test_telemetry_is_its_definitions_as_loops(seed: int) -> None:
    queries, candidates = unit(4, 5, seed=seed), unit(6, 5, seed=seed + 50)
    relevant = torch.zeros(4, 6, dtype=torch.bool)
    positive = [2, 0, 2, 5]
    for q, p in enumerate(positive):
        relevant[q, p] = True
    relevant[0, 4] = True
    if seed % 2:
        relevant[3] = True  # a query without negatives
    else:
        relevant[3, :4] = True  # a query with one
    teacher = unit(4, 6, seed=seed + 99)
    teacher[1, 3] = torch.nan
    own = torch.tensor([[1, 4], [1, 1], [3, 2], [5, 4]])
    batch = Batch(queries.requires_grad_(), candidates, torch.tensor(positive), relevant, own, teacher)
    batch.similarity.retain_grad()
    MNR.loss(batch).value.backward()
    free = np.array([[False, False], [False, True], [False, False], [True, False]])
    above = np.array([[True, False], [False, False], [True, False], [False, False]])
    drawn = Drawn(own.numpy(), free, above)
    told = measure(batch, Loss(torch.tensor([0.0, 1e-9, 0.2, 3.0])), drawn)
    cosine = [[sum(float(a) * float(b) for a, b in zip(q, c, strict=True)) for c in candidates] for q in queries]
    negatives = [[cosine[q][c] for c in range(6) if not relevant[q, c]] for q in range(4)]
    some = [row for row in negatives if row]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def spread(row: list[float]) -> float:
        return math.sqrt(mean([(value - mean(row)) ** 2 for value in row]))

    mine = [cosine[q][p] for q, p in enumerate(positive)]
    pulls = [[math.exp(20 * cosine) for cosine in row] for row in some]  # softmax gradients are in this proportion
    suspects = [
        (teacher[q, c] > teacher[q, p]).item()
        for q, p in enumerate(positive)
        for c in range(6)
        if not relevant[q, c] and not teacher[q, c].isnan()
    ]
    places = [(int(own[q, k]), q) for q in range(4) for k in range(2) if not free[q, k]]
    apart = [(candidates[i] - candidates[j]).square().sum().item() for i in range(6) for j in range(6) if i != j]
    wanted = {
        "positive_similarity": mean(mine),
        "negative_similarity": mean([mean(row) for row in some]),
        "hardest_similarity": mean([max(row) for row in some]),
        "positive_rank": mean([1 + sum(value >= mine[q] for value in negatives[q]) for q in range(4)]),
        "active": 0.5,
        "negatives": mean([len(row) for row in negatives]),
        "labelled_masked": mean([(6 - len(row) - 1) / 5 for row in negatives]),
        "spread": mean([spread(row) for row in cosine]),
        "alignment": mean([(queries[q] - candidates[p]).square().sum().item() for q, p in enumerate(positive)]),
        "uniformity": math.log(mean([math.exp(-2 * distance) for distance in apart])),
        "effective_negatives": mean([sum(row) ** 2 / sum(pull**2 for pull in row) for row in pulls]),
        "guide_above": mean([float(above) for above in suspects]),
        "drawn_free": 0.25,
        "drawn_labelled": sum(bool(relevant[q, c]) for c, q in places) / 6,
        "drawn_above": 2 / 6,
    }
    for name, values in {"positive": mine, "negative": [c for row in some for c in row]}.items():
        for part, share in (("p10", 10), ("p50", 50), ("p90", 90)):
            wanted[f"{name}_similarity_{part}"] = float(np.percentile(values, share))
    assert {name: float(value) for name, value in told.items()} == pytest.approx(wanted, rel=1e-5)


def fit(training: Training, evaluate: Callable[[], dict[str, float]] | None = None, **config: Any) -> Progress:
    """Train with settings that the toy does not have."""
    settings = {"batch_size": 8, "lr": 1e-3, "eval_every": 0, "log_every": 1, **config}
    hooks = Hooks(event=training.events.append, evaluate=evaluate)
    return Trainer(
        training.encoder, training.strategy, Material(training.pairs, training.queries, training.passages), Source(),
        TrainConfig(**settings), training.precision, 0, training.directory, hooks,
    ).fit()  # fmt: skip


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
            torch.cat([encoder(pack([(tokens, np.array([text]))])) for text in texts])
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
        losses = MNR.loss(batch).per_query
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
    for value in [*state["encoder"].values(), *training.encoder.state_dict().values()]:
        assert torch.isfinite(value).all()


def test_a_collapse_stops_training(tmp_path: Path) -> None:
    training = Training(MNR, directory=tmp_path)
    last = training.encoder.transformer.encoder.layer[-1].output.LayerNorm
    last.weight.data.zero_()
    last.bias.data.normal_()
    with pytest.raises(TrainingStopped, match=r"all embeddings have become one by step 3 .*lower train\.lr"):
        fit(training, lr=0.0, log_every=3, save_every=1)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["progress"]["step"] == 2


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


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"not a checkpoint", lambda b: b[: len(b) // 2]])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    fit(Training(MNR, directory=tmp_path), max_steps=2)
    path = tmp_path / "last.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"last\.pt: not a readable checkpoint .*remove it to train"):
        fit(Training(MNR, directory=tmp_path), max_steps=4)


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
