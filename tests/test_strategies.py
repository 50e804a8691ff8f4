"""One conformance suite: every registered strategy passes it, found by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import CPU, Training

from bench.evaluate import EvalConfig, evaluate
from bench.model.encode import encode
from bench.search import IndexConfig
from bench.train.step import random_state, set_random_state
from strategies import Batch, Strategy, registered

STRATEGIES = sorted(registered())


def softmax_reference(scale: str | float, margin: str | float = 0.0) -> Callable[[Batch, Strategy, int], float]:
    def reference(batch: Batch, strategy: Strategy, q: int) -> float:
        s = getattr(strategy, scale) if isinstance(scale, str) else scale
        m = getattr(strategy, margin) if isinstance(margin, str) else margin
        p = int(batch.positive[q])
        cosine = (batch.candidates @ batch.queries[q]).tolist()
        total = math.exp(s * (cosine[p] - m))
        total += sum(math.exp(s * c) for j, c in enumerate(cosine) if not batch.relevant[q, j])
        return -math.log(math.exp(s * (cosine[p] - m)) / total)

    return reference


def hardest_reference(batch: Batch, strategy: Strategy, q: int) -> float:
    cosine = (batch.candidates @ batch.queries[q]).tolist()
    hardest = max(c for j, c in enumerate(cosine) if not batch.relevant[q, j])
    positive = cosine[int(batch.positive[q])]
    if strategy.positive == "row_max":  # type: ignore[attr-defined]
        positive = max(positive, hardest)
    return max(0.0, hardest - positive + strategy.margin)  # type: ignore[attr-defined]


REFERENCES = {
    "in_batch": softmax_reference("scale", "margin"),
    "mnr": softmax_reference("scale"),
    "hardest_neg": hardest_reference,
}


def variants(name: str) -> list[Strategy]:
    """The strategy at its defaults, and once with each other value of its switches."""
    kind = registered()[name]
    others = [kind(**{k.name: c}) for k in kind.knobs() for c in k.choices or () if c != k.default]
    return [kind(), *others]


def random_batch(q: int = 5, c: int = 7, d: int = 8, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    """Unit vectors; query 0 has a second relevant passage, query 1 shares its positive with query 0."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.nn.functional.normalize(torch.randn(q, d, generator=generator, dtype=dtype), dim=-1)
    candidates = torch.nn.functional.normalize(torch.randn(c, d, generator=generator, dtype=dtype), dim=-1)
    positive = torch.arange(q)
    positive[1] = 0
    relevant = torch.zeros(q, c, dtype=torch.bool)
    relevant[torch.arange(q), positive] = True
    relevant[0, c - 1] = True
    return Batch(queries.requires_grad_(), candidates.requires_grad_(), positive, relevant)


@pytest.fixture(params=STRATEGIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_loss_is_the_formula_computed_by_plain_loops(name: str) -> None:
    assert name in REFERENCES, f"write the formula of {name} as a plain loop in REFERENCES"
    for strategy in variants(name):
        for seed in range(5):
            batch = random_batch(seed=seed)
            expected = [REFERENCES[name](batch, strategy, q) for q in range(len(batch.queries))]
            torch.testing.assert_close(
                strategy.loss(batch).per_query, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9
            )


def test_gradient_reaches_queries_and_passages(name: str) -> None:
    batch = random_batch()
    registered()[name]().loss(batch).value.backward()
    assert batch.queries.grad is not None and batch.queries.grad.norm() > 0
    assert batch.candidates.grad is not None and batch.candidates.grad.norm() > 0
    assert torch.isfinite(batch.queries.grad).all() and torch.isfinite(batch.candidates.grad).all()


def test_order_within_the_batch_does_not_matter(name: str) -> None:
    strategy, batch = registered()[name](), random_batch()
    rows, columns = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([6, 2, 0, 5, 1, 4, 3])
    place = torch.argsort(columns)
    shuffled = Batch(
        batch.queries[rows], batch.candidates[columns], place[batch.positive[rows]], batch.relevant[rows][:, columns]
    )
    torch.testing.assert_close(strategy.loss(shuffled).per_query, strategy.loss(batch).per_query[rows])


def test_another_relevant_passage_is_never_a_negative(name: str) -> None:
    batch = random_batch()
    strategy = registered()[name]()
    before = strategy.loss(batch).per_query[0]
    moved = batch.candidates.detach().clone()
    moved[-1] = batch.queries[0].detach()  # the second relevant passage of query 0 becomes most similar
    after = strategy.loss(Batch(batch.queries, moved, batch.positive, batch.relevant)).per_query[0]
    torch.testing.assert_close(after, before)


def test_a_query_without_negatives_neither_breaks_nor_teaches(name: str) -> None:
    queries = torch.nn.functional.normalize(torch.randn(1, 4, dtype=torch.float64), dim=-1).requires_grad_()
    batch = Batch(queries, queries.detach(), torch.tensor([0]), torch.ones(1, 1, dtype=torch.bool))
    loss = registered()[name]().loss(batch).value
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(queries.grad).all()


def test_bf16_is_close_to_fp32(name: str) -> None:
    strategy = registered()[name]()
    exact, rough = random_batch(dtype=torch.float32), random_batch(dtype=torch.float32)
    rough = Batch(rough.queries.bfloat16(), rough.candidates.bfloat16(), rough.positive, rough.relevant)
    difference = (strategy.loss(rough).per_query.float() - strategy.loss(exact).per_query).abs()
    assert difference.max() < 0.5, "more than bf16's rounding of cosines at the largest default scale"


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_cache_gives_the_gradient_of_the_whole_batch(name: str, dropout: float) -> None:
    training = Training(registered()[name](), dropout=dropout, micro_batch=5)
    start = random_state(CPU)
    gradients = []
    for cached in (True, False):
        set_random_state(start, CPU)
        gradients.append(training.gradients(cached))
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for parameter, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][parameter], rtol=1e-4, atol=1e-6)


def test_without_dropout_chunks_of_any_size_give_one_gradient(name: str) -> None:
    whole, small = (Training(registered()[name](), dropout=0.0, micro_batch=size).gradients() for size in (None, 3))
    for parameter, gradient in whole.items():
        torch.testing.assert_close(gradient, small[parameter], rtol=1e-4, atol=1e-6)


def weights(training: Training) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in training.encoder.state_dict().items()}


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert torch.equal(value, right[key]), f"{key} differs"


def test_two_runs_are_bit_equal(name: str, tmp_path: Path) -> None:
    runs = []
    for place in ("a", "b"):
        training = Training(registered()[name](), directory=tmp_path / place, max_steps=6)
        training.fit()
        runs.append(weights(training))
    assert_equal(*runs)


def test_kill_and_resume_is_bit_equal(name: str, tmp_path: Path) -> None:
    whole = Training(registered()[name](), directory=tmp_path / "whole", max_steps=9, save_every=4)
    whole.fit()
    killed = Training(registered()[name](), directory=tmp_path / "killed", max_steps=9, save_every=4)
    with pytest.raises(Killed):
        killed.fit(on_step=kill_at(7))
    resumed = Training(registered()[name](), directory=tmp_path / "killed", max_steps=9, save_every=4)
    torch.manual_seed(99)  # whatever the new process did before
    seen: list[int] = []
    done = resumed.fit(on_step=seen.append)
    assert seen[0] == 5, "it goes on from the checkpoint at step 4"
    assert (done.step, done.pairs) == (9, 9 * 8)
    assert_equal(weights(whole), weights(resumed))
    tail = resumed.events[-1]
    assert whole.events[-1] == tail, "the history's last window is the same"


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[int], None]:
    def check(now: int) -> None:
        if now == step:
            raise Killed

    return check


def test_training_raises_recall(name: str, tmp_path: Path) -> None:
    training = Training(registered()[name](), directory=tmp_path, epochs=12, lr=3e-3, dropout=0.0)
    before = recall(training)
    training.fit()
    after = recall(training)
    assert after > before + 20, f"recall@5 went from {before:.0f} to {after:.0f}"


def recall(training: Training) -> float:
    data, dev = training.data, training.data.splits["dev"]
    queries = encode(training.encoder, training.queries, "fp32", dev.queries)
    corpus = encode(training.encoder, training.passages, "fp32")
    config = EvalConfig(ks=(5,), retrieve=10)
    found = evaluate(queries, corpus, dev, {}, config, IndexConfig(), hnsw=False)
    assert len(corpus) == len(data.passages)
    return found.metrics["exact/recall@5"]


def test_every_knob_has_a_source_and_a_range(name: str) -> None:
    for knob in registered()[name].knobs():
        assert knob.source
        if knob.choices is None:
            assert knob.low is not None and knob.high is not None and knob.low <= knob.default <= knob.high
        else:
            assert knob.default in knob.choices


def test_docstring_names_its_source(name: str) -> None:
    assert "Source:" in (registered()[name].__doc__ or "")


def test_in_batch_without_margin_is_mnr() -> None:
    batch = random_batch()
    plain, mnr = registered()["in_batch"](margin=0.0, scale=20.0), registered()["mnr"](scale=20.0)
    torch.testing.assert_close(plain.loss(batch).per_query, mnr.loss(batch).per_query)


def test_row_max_gives_violated_queries_no_gradient() -> None:
    batch = random_batch(seed=3)
    strategy = registered()["hardest_neg"](positive="row_max")
    hardest = batch.similarity.masked_fill(batch.relevant, -torch.inf).amax(1)
    violated = (hardest > batch.positive_similarity).detach()
    assert violated.any() and not violated.all()
    strategy.loss(batch).value.backward()
    assert batch.queries.grad is not None
    assert (batch.queries.grad[violated].abs() < 1e-12).all()
    np.testing.assert_allclose(strategy.loss(batch).per_query[violated].detach(), strategy.margin)
