"""One conformance suite: every registered strategy passes it, found by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from references import reference_of
from torch import Tensor
from torch.nn.functional import normalize
from toys import CPU, Training

from bench.data.dataset import Ids, Ragged, Split
from bench.data.tokens import Tokens, tokenize
from bench.evaluate import EvalConfig, evaluate
from bench.model.embedding import encode
from bench.search import IndexConfig
from bench.train.step import check_loss, random_state, set_random_state
from strategies import Batch, Chain, LabelledBatch, Loss, Strategy, registered
from strategies.examples import ClassifiedPairs, TaskPairs, TwoViews
from strategies.negatives import NoNegatives

STRATEGIES = sorted(registered())
LOSSES = [name for name in STRATEGIES if not issubclass(registered()[name], Chain)]
CONTRASTS = [name for name in LOSSES if registered()[name]().negatives != NoNegatives()]


def variants(name: str) -> list[Strategy]:
    """The strategy at its defaults, and once with each other value of its switches."""
    kind = registered()[name]
    others = [kind(**{k.name: c}) for k in kind.knobs() for c in k.choices or () if c != k.default]
    return [kind(), *others]


def random_batch(strategy: Strategy, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """Random vectors, and what the strategy asks for beside them."""
    generator = torch.Generator().manual_seed(seed)

    def vectors(rows: int, size: int) -> Tensor:
        return torch.randn(rows, size, generator=generator, dtype=dtype)

    return (labelled_batch if isinstance(strategy.examples, TaskPairs) else query_batch)(strategy, vectors)


def labelled_batch(strategy: Strategy, vectors: Callable[[int, int], Tensor]) -> LabelledBatch:
    """Five pairs, of which some have equal labels."""
    b = 5
    left, right = vectors(b, 8).requires_grad_(), vectors(b, 8).requires_grad_()
    u, v = (normalize(vectors(b, 6), dim=-1) for _ in range(2))
    classes = isinstance(strategy.examples, ClassifiedPairs)
    label = torch.tensor([2, 0, 1, 1, 2] if classes else [1.0, 0.2, 0.4, 0.4, 1.0])
    torch.manual_seed(0)
    head = strategy.head(8)
    return LabelledBatch(
        normalize(left, dim=-1),
        normalize(right, dim=-1),
        left,
        right,
        label,
        None if head is None else head.to(left.dtype),
        LabelledBatch(u, v, u, v, label) if strategy.guide else None,
    )


def query_batch(strategy: Strategy, vectors: Callable[[int, int], Tensor]) -> Batch:
    """Queries and passages.

    Query 0 has a second relevant passage, query 1 shares its positive with query 0. Of the sampled passages
    one stands twice in a row, one is relevant to its query, and one row has nothing but its own positive.
    """
    q, c = 5, 9

    def unit(rows: int, size: int) -> Tensor:
        return normalize(vectors(rows, size), dim=-1)

    queries, candidates = unit(q, 8), unit(c, 8)
    positive = torch.arange(q)
    positive[1] = 0
    relevant = torch.zeros(q, c, dtype=torch.bool)
    relevant[torch.arange(q), positive] = True
    relevant[0, c - 1] = True
    own = torch.tensor([[5, c - 1, 6], [6, 7, 6], [5, 5, 7], [1, 8, 0], [4, 4, 4]])
    guide = Batch(unit(q, 6), unit(c, 6), positive, relevant, own)
    teacher = guide.similarity
    if strategy.guide is not None and strategy.guide.by == "data":
        teacher = teacher.where(Batch(queries, candidates, positive, relevant, own).is_own | relevant, torch.nan)
    n = strategy.negatives.n
    return Batch(
        queries.requires_grad_(),
        candidates.requires_grad_(),
        positive,
        relevant,
        own[:, : min(n, 3)] if n else None,
        teacher if strategy.guide else None,
        guide if strategy.guide else None,
        generation=vectors(q, 1).square().squeeze(1) if strategy.examples.generates else None,
    )


@pytest.fixture(params=STRATEGIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=LOSSES)
def loss_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CONTRASTS)
def contrast(request: pytest.FixtureRequest) -> str:
    """A loss that compares queries with negatives."""
    return str(request.param)


def test_loss_is_the_formula_computed_by_plain_loops(loss_name: str) -> None:
    reference = reference_of(loss_name)
    for strategy in variants(loss_name):
        for seed in range(5):
            batch = random_batch(strategy, seed)
            told = strategy.loss(batch).per_example
            expected = [reference(batch, strategy, q) for q in range(len(told))]
            torch.testing.assert_close(told, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


OTHER_VALUES: list[tuple[str, dict[str, Any]]] = [
    ("guided", {"margin": 0.1}),
    ("guided", {"margin": 0.1, "margin_kind": "relative"}),
    ("hardness_logit", {"own": 2.0, "batch": 9.0, "n": 3}),
    ("hardness_logit", {"own": 0.0, "batch": 9.0, "n": 0}),
    ("focal", {"exponent": 0.5}),
]


@pytest.mark.parametrize(("name", "knobs"), OTHER_VALUES)
def test_other_values_of_knobs_are_the_formula_too(name: str, knobs: dict[str, Any]) -> None:
    strategy = registered()[name](**knobs)
    batch = random_batch(strategy)
    expected = [reference_of(name)(batch, strategy, q) for q in range(len(batch.queries))]
    told = strategy.loss(batch).per_example
    torch.testing.assert_close(told, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_the_loss_has_a_term_for_every_example(loss_name: str) -> None:
    for strategy in variants(loss_name):
        batch = random_batch(strategy)
        side = batch.left if isinstance(batch, LabelledBatch) else batch.queries
        assert len(strategy.loss(batch).per_example) == len(batch.texts if loss_name == "similarity_distil" else side)


def test_gradient_reaches_both_sides(loss_name: str) -> None:
    for strategy in variants(loss_name):
        reached = torch.zeros(2)
        for seed in range(4):
            batch = random_batch(strategy, seed)
            strategy.loss(batch).value.backward()
            pairs = isinstance(batch, LabelledBatch)
            sides = (batch.left_raw, batch.right_raw) if pairs else (batch.queries, batch.candidates)
            for place, vectors in enumerate(sides):
                assert vectors.grad is not None and torch.isfinite(vectors.grad).all()
                reached[place] += vectors.grad.norm()
        assert (reached > 0).all()


def test_an_answer_to_every_query_has_no_gradient(contrast: str) -> None:
    for strategy in variants(contrast):
        for seed in range(4):
            batch = random_batch(strategy, seed)
            everywhere = replace(batch, relevant=batch.relevant.clone())
            everywhere.relevant[:, 6] = True  # nobody's positive
            strategy.loss(everywhere).value.backward()
            pulled = batch.candidates.grad[6].any()
            assert not pulled or contrast == "batch_hard", "only its positives are all that are relevant"


def test_order_within_the_batch_does_not_matter(loss_name: str) -> None:
    rows, columns = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([6, 2, 8, 0, 5, 1, 7, 4, 3])
    place = torch.argsort(columns)

    def shuffled(batch: Batch) -> Batch:
        return Batch(
            batch.queries[rows],
            batch.candidates[columns],
            place[batch.positive[rows]],
            batch.relevant[rows][:, columns],
            None if batch.own is None else place[batch.own[rows]],
            None if batch.teacher is None else batch.teacher[rows][:, columns],
            None if batch.guide is None else shuffled(batch.guide),
            generation=None if batch.generation is None else batch.generation[rows],
        )

    def shuffled_pairs(batch: LabelledBatch) -> LabelledBatch:
        sides = (batch.left, batch.right, batch.left_raw, batch.right_raw, batch.label)
        guide = None if batch.guide is None else shuffled_pairs(batch.guide)
        return LabelledBatch(*(side[rows] for side in sides), batch.head, guide)

    for strategy in variants(loss_name):
        batch = random_batch(strategy)
        pairs = isinstance(batch, LabelledBatch)
        told = strategy.loss(batch).per_example
        # A loss of one term a text has those of the other side behind.
        of_texts = torch.cat([rows, len(rows) + (rows if pairs else columns)])
        order = rows if len(told) < len(of_texts) else of_texts
        torch.testing.assert_close(
            strategy.loss((shuffled_pairs if pairs else shuffled)(batch)).per_example, told[order], equal_nan=False
        )


def test_another_relevant_passage_is_never_a_negative(contrast: str) -> None:
    for strategy in variants(contrast):
        batch = random_batch(strategy)
        before = strategy.loss(batch).per_example[0]
        moved = batch.candidates.detach().clone()
        moved[-1] = batch.queries[0].detach()  # the second relevant passage of query 0 becomes most similar
        after = strategy.loss(replace(batch, candidates=moved)).per_example[0]
        if not torch.allclose(before, after):
            # As a passage against the positive it may count, never against the query.
            assert "p2p" in getattr(strategy, "directions", ""), f"{strategy} pushed an answer away"


def test_a_passage_drawn_twice_counts_once(contrast: str) -> None:
    strategy = registered()[contrast]()
    batch = random_batch(strategy)
    if batch.own is None:
        return  # a batch has one column for a passage, whoever drew it; see test_gather
    twice = replace(batch, own=torch.cat([batch.own, batch.own[:, :1]], dim=1))
    torch.testing.assert_close(strategy.loss(twice).per_example, strategy.loss(batch).per_example)


def test_a_query_without_negatives_neither_breaks_nor_teaches(contrast: str) -> None:
    for strategy in variants(contrast):
        queries = normalize(torch.randn(1, 4, dtype=torch.float64), dim=-1).requires_grad_()
        one = torch.ones(1, 1, dtype=torch.bool)
        own = torch.zeros(1, 2, dtype=torch.long) if strategy.negatives.n else None
        guide = Batch(queries.detach(), queries.detach(), torch.tensor([0]), one, own)
        batch = Batch(queries, queries.detach(), torch.tensor([0]), one, own, guide.similarity, guide)
        loss = strategy.loss(batch).value
        loss.backward()
        assert torch.isfinite(loss) and queries.grad is not None
        assert queries.grad.abs().max() < 1e-9, f"{strategy} moves a query that has nothing to learn from"


def test_bf16_is_close_to_fp32(loss_name: str) -> None:
    for strategy in variants(loss_name):
        exact, rough = (random_batch(strategy, dtype=torch.float32) for _ in range(2))
        sides = ("left", "right") if isinstance(rough, LabelledBatch) else ("queries", "candidates")
        rough = replace(rough, **{side: getattr(rough, side).bfloat16() for side in sides})
        wanted = strategy.loss(exact).per_example
        difference = (strategy.loss(rough).per_example.float() - wanted).abs()
        # bf16 rounds a cosine by up to 2^-9 and a bit; scales are up to 100, margin-MSE squares.
        assert (difference <= 0.8 + 0.05 * wanted.abs()).all(), f"{strategy}: {difference}"


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_cache_gives_the_gradient_of_the_whole_batch(name: str, dropout: float) -> None:
    training = Training(registered()[name](), dropout=dropout, micro_batch=5)
    start = random_state(CPU)
    gradients = []
    for cached in (True, False):
        set_random_state(start, CPU)
        gradients.append(training.gradients(cached))
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    assert_near(*gradients)


def test_without_dropout_chunks_of_any_size_give_one_gradient(name: str) -> None:
    whole, small = (Training(registered()[name](), dropout=0.0, micro_batch=size).gradients() for size in (None, 3))
    assert_near(whole, small)


def assert_near(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    """Equal but for the order in which float32 was added up: by 1e-4 of the largest gradient of a parameter."""
    for parameter, gradient in left.items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(gradient, right[parameter], rtol=0, atol=1e-4 * largest + 1e-7)


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
    assert seen[0] > 4, "it goes on from a checkpoint"
    assert done.step == 9
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


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "softmax_nli"])
def test_training_raises_recall(name: str, tmp_path: Path) -> None:
    """Of a strategy that only learns from a teacher, its agreement with the teacher.

    A classifier need not raise any: its loss has no cosine. That it falls is tested with its head.
    """
    strategy = registered()[name]()
    unlabelled = [isinstance(stage.examples, TwoViews) for stage in strategy.stages()]
    training = Training(strategy, directory=tmp_path, epochs=12, lr=3e-3, dropout=0.1 if any(unlabelled) else 0.0)
    measured = recall_of_parts if unlabelled[-1] else agreement if name == "similarity_distil" else recall
    before = measured(training)
    training.fit()
    after = measured(training)
    assert after > before + 20, f"{measured.__name__} went from {before:.0f} to {after:.0f}"


def agreement(training: Training) -> float:
    """Correlation of all cosines between dev queries with those of the other encoder, times 100."""
    rows, apart = training.data.splits["dev"].queries, ~np.eye(len(training.data.splits["dev"]), dtype=bool)
    vectors = [encode(encoder, training.queries, "fp32", rows) for encoder in (training.encoder, training.another)]
    return 100 * float(np.corrcoef(*((each @ each.T)[apart] for each in vectors))[0, 1])


def recall(training: Training) -> float:
    """Of dev queries, which share no word with their passage."""
    dev = training.data.splits["dev"]
    return recall_at_5(training, training.queries, dev.queries, training.passages, dev)


def recall_of_parts(training: Training) -> float:
    """Of two words of an unlabelled text, in other order, for that text: what can be learnt without labels."""
    texts = training.data.unlabelled
    queries = [" ".join(reversed(text.split()[2:4])) for text in texts]
    asked, corpus = (tokenize(each, training.encoder.tokenizer, 16) for each in (queries, texts))
    everyone = np.arange(len(texts))
    return recall_at_5(training, asked, everyone, corpus, Split(everyone, Ragged.of([[n] for n in everyone])))


def recall_at_5(training: Training, asked: Tokens, rows: Ids, corpus: Tokens, split: Split) -> float:
    queries, passages = encode(training.encoder, asked, "fp32", rows), encode(training.encoder, corpus, "fp32")
    config = EvalConfig(ks=(5,), retrieve=10)
    return evaluate(queries, passages, split, {}, config, IndexConfig(), by_index=False).metrics["exact/recall@5"]


def test_every_knob_has_a_source_and_a_range(name: str) -> None:
    for knob in registered()[name].knobs():
        assert knob.source
        if knob.choices is not None:
            assert knob.default in knob.choices
        elif isinstance(knob.default, int | float):
            assert (knob.low is not None and knob.high is not None and knob.low <= knob.default <= knob.high) or (
                knob.low is None and knob.least is not None
            )


def test_docstring_names_its_source_and_what_it_was_published_with(name: str) -> None:
    told = registered()[name].__doc__ or ""
    assert "Source:" in told and "Published with:" in told


IDENTITIES = [
    ("in_batch", {"margin": 0.0, "scale": 20.0}, "mnr", {}),
    ("random_global", {"group": 1, "scale": 20.0}, "mnr", {}),
    ("queue", {}, "mnr", {}),
    ("simcse", {}, "mnr", {}),
    ("simcse", {"scale": 30.0}, "in_batch", {"margin": 0.0}),
    ("debiased", {"prior": 0.0, "scale": 20.0}, "mnr", {}),
    ("hard_weighted", {"concentration": 0.0, "scale": 20.0}, "mnr", {}),
    ("provided_hard", {"weight": 0.0}, "mnr", {"provided": 1}),
    ("ance", {"kind": "ce"}, "mnr", {"provided": 1}),
    ("ance", {"kind": "hinge", "margin": 0.2}, "random_pairwise", {}),
    ("triplet", {"margin": 0.2}, "random_pairwise", {}),
    ("bm25_hard", {"n": 7}, "mined_hard", {"by": "bm25"}),
    ("mined_hard", {"n": 7}, "random_global", {}),
    ("nv_percpos", {}, "mined_hard", {}),
    ("focal", {"exponent": 0.0}, "mined_hard", {}),
    ("hardness_logit", {"own": 0.0, "n": 7, "scale": 50.0}, "mined_hard", {}),
    ("hardness_logit", {"own": 0.0, "n": 0}, "mnr", {}),
    ("qwen3", {"margin": 2.0, "scale": 50.0, "contrast_queries": False, "contrast_passages": False}, "mined_hard", {}),
    ("distil", {"teacher_scale": 1.0, "contrast": 0.0, "n": 1, "scale": 20.0}, None, {}),
]


@pytest.mark.parametrize(("left", "knobs", "right", "others"), IDENTITIES)
def test_identities(left: str, knobs: dict[str, Any], right: str | None, others: dict[str, Any]) -> None:
    one = registered()[left](**knobs)
    batch = random_batch(one)
    if right is None:  # a teacher that agrees teaches nothing
        batch = replace(batch, teacher=(one.scale * batch.similarity).detach())
        one.loss(batch).value.backward()
        assert batch.queries.grad is not None and batch.queries.grad.abs().max() < 1e-9
        return
    torch.testing.assert_close(one.loss(batch).per_example, registered()[right](**others).loss(batch).per_example)


def test_a_hard_negative_of_no_weight_drops_the_own_one_only() -> None:
    """Supervised SimCSE with its log weight towards minus infinity."""
    light = registered()["provided_hard"](weight=-200.0)
    batch = random_batch(light)
    mask = batch.relevant | batch.is_own
    torch.testing.assert_close(
        light.loss(batch).per_example, registered()["mnr"]().loss(replace(batch, relevant=mask)).per_example
    )


def test_row_max_gives_violated_queries_no_gradient() -> None:
    strategy = registered()["hardest_neg"](positive="row_max")
    batch = random_batch(strategy, seed=3)
    hardest = batch.similarity.masked_fill(batch.relevant, -torch.inf).amax(1)
    violated = (hardest > batch.positive_similarity).detach()
    assert violated.any() and not violated.all()
    strategy.loss(batch).value.backward()
    assert batch.queries.grad is not None
    assert (batch.queries.grad[violated].abs() < 1e-12).all()
    np.testing.assert_allclose(strategy.loss(batch).per_example[violated].detach(), strategy.margin)


def test_a_field_that_is_no_knob_is_named() -> None:
    @dataclass(frozen=True)
    class Careless(Strategy):
        scale: float = 3.0

        def loss(self, batch: Batch) -> Loss:
            raise NotImplementedError

    with pytest.raises(TypeError, match="field scale of Careless is no knob"):
        Careless.knobs()


@pytest.mark.parametrize("wrong", [torch.ones(3), Loss(torch.ones(3, 2)), Loss(torch.ones(()))])
def test_a_loss_that_is_not_one_term_an_example_names_its_strategy(wrong: Any) -> None:
    with pytest.raises(TypeError, match="strategy in_batch"):
        check_loss(registered()["in_batch"](), wrong)
