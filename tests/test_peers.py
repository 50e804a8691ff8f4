"""The same embeddings give the same loss in independent libraries. Runs where they are installed (extra ``peers``)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from strategies import Batch, LabelledBatch, find, registered

pytestmark = pytest.mark.peers
pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed (extra peers)")
pytest.importorskip("pytorch_metric_learning", reason="pytorch-metric-learning is not installed (extra peers)")

from pytorch_metric_learning import distances, losses, miners, reducers  # noqa: E402
from sentence_transformers.sentence_transformer import losses as st  # noqa: E402

Q, D = 6, 8


def unit(rows: int, seed: int, size: int = D) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(rows, size, generator=generator, dtype=torch.float64), dim=-1)


def batch(negatives: int = 0, guide: bool = False) -> Batch:
    """Q pairs with a passage each, then ``negatives`` passages sampled for each query, column after column."""
    columns = Q * (1 + negatives)
    relevant = torch.zeros(Q, columns, dtype=torch.bool)
    relevant[torch.arange(Q), torch.arange(Q)] = True
    own = Q + torch.arange(Q)[:, None] + Q * torch.arange(negatives) if negatives else None
    seen = Batch(unit(Q, 3, 5), unit(columns, 4, 5), torch.arange(Q), relevant, own) if guide else None
    return Batch(
        unit(Q, 1).requires_grad_(), unit(columns, 2).requires_grad_(), torch.arange(Q), relevant, own, None, seen
    )


def columns_of(vectors: Tensor) -> list[Tensor]:
    """Passages as Sentence Transformers has them: a [Q, d] matrix for the positives and for each negative."""
    return list(vectors.split(Q))


def assert_same(strategy: Any, ours: Batch, theirs: Tensor) -> None:
    """The same loss, and the same gradients on queries and passages."""
    loss = strategy.loss(ours).value
    torch.testing.assert_close(loss, theirs.to(loss.dtype), rtol=1e-6, atol=1e-8)
    inputs = (ours.queries, ours.candidates)
    mine = torch.autograd.grad(loss, inputs, retain_graph=True)
    others = torch.autograd.grad(theirs, inputs)
    for vectors, left, right in zip(inputs, mine, others, strict=True):
        # Theirs normalises once more, which leaves the part of the gradient that turns a unit vector.
        along = [(gradient * vectors).sum(1, keepdim=True) * vectors for gradient in (left, right)]
        torch.testing.assert_close(left - along[0], (right - along[1]).to(left.dtype), rtol=1e-5, atol=1e-8)


THEIR_DIRECTIONS = {"q2p": "query_to_doc", "p2q": "doc_to_query", "q2q": "query_to_query", "p2p": "doc_to_doc"}


@pytest.mark.parametrize("directions", ["q2p", "q2p+p2q", "q2p+q2q", "q2p+p2p", "q2p+p2q+q2q+p2p"])
def test_mnr_and_its_directions(directions: str) -> None:
    ours = batch()
    loss = st.MultipleNegativesRankingLoss(
        nn.Identity(), directions=tuple(THEIR_DIRECTIONS[d] for d in directions.split("+"))
    )
    told = loss.compute_loss_from_embeddings([ours.queries, *columns_of(ours.candidates)], torch.zeros(0))
    assert_same(registered()["mnr"](directions=directions), ours, told)


def test_symmetric_mnr() -> None:
    ours = batch()
    loss = st.MultipleNegativesRankingLoss(
        nn.Identity(), directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    )
    told = loss.compute_loss_from_embeddings([ours.queries, ours.candidates], torch.zeros(0))
    assert_same(registered()["mnr"](symmetric=True), ours, told)


@pytest.mark.parametrize("name", ["mnr", "provided_hard", "random_global", "mined_hard"])
def test_sampled_negatives_are_further_columns(name: str) -> None:
    ours = batch(negatives=2)
    knobs = {"mnr": {"provided": 2}, "provided_hard": {"n": 2}, "random_global": {"group": 3}, "mined_hard": {"n": 2}}
    loss = st.MultipleNegativesRankingLoss(nn.Identity(), scale=20.0)
    told = loss.compute_loss_from_embeddings([ours.queries, *columns_of(ours.candidates)], torch.zeros(0))
    assert_same(registered()[name](scale=20.0, **knobs[name]), ours, told)


def test_cached_mnr() -> None:
    """Its loss, computed in pieces, is ours of the whole batch."""
    ours = batch(negatives=1)
    loss = st.CachedMultipleNegativesRankingLoss(nn.Sequential(nn.Identity()), mini_batch_size=2)
    columns = [list(column.split(2)) for column in (ours.queries, *columns_of(ours.candidates))]
    assert_same(registered()["mnr"](provided=1), ours, loss.calculate_loss(columns))


def test_triplet_on_cosines() -> None:
    """On Euclidean distances version 5.2 of theirs had the sign turned round; cosines are what both agree on."""
    ours = batch(negatives=1)
    metric = st.TripletDistanceMetric.COSINE
    loss = st.TripletLoss(nn.Identity(), distance_metric=metric, triplet_margin=0.6)
    told = loss.compute_loss_from_embeddings([ours.queries, *columns_of(ours.candidates)], torch.zeros(0))
    assert_same(registered()["triplet"](margin=0.6), ours, told)


@pytest.mark.parametrize("kind", ["absolute", "relative"])
@pytest.mark.parametrize("queries", [True, False])
@pytest.mark.parametrize("passages", [True, False])
def test_gist(monkeypatch: pytest.MonkeyPatch, kind: str, queries: bool, passages: bool) -> None:
    """Theirs also lets a query, and a positive, be its own negative where the guide's threshold is above 1, which
    cannot be; with a margin below 0 it could, and ours never does."""
    import importlib

    module = importlib.import_module("sentence_transformers.sentence_transformer.losses.gist_embed")
    monkeypatch.setattr(module, "embed_columns", lambda model, features: model(features))
    ours = batch(guide=True)
    assert ours.guide is not None
    theirs = st.GISTEmbedLoss.__new__(st.GISTEmbedLoss)
    nn.Module.__init__(theirs)
    for name, value in {
        "temperature": 0.05, "margin_strategy": kind, "margin": 0.1, "must_retokenize": False,
        "contrast_anchors": queries, "contrast_positives": passages, "gather_across_devices": False,
    }.items():  # fmt: skip
        setattr(theirs, name, value)
    theirs.similarity_fct, theirs.cross_entropy_loss = nn.CosineSimilarity(dim=-1), nn.CrossEntropyLoss()
    theirs.model = lambda features: [ours.queries, ours.candidates]
    theirs.guide = lambda features: [ours.guide.queries, ours.guide.candidates]
    knobs = {"margin_kind": kind, "margin": 0.1, "contrast_queries": queries, "contrast_passages": passages}
    assert_same(registered()["guided"](scale=20.0, **knobs), ours, theirs([{}, {}], torch.zeros(0)))


def labelled(label: Tensor, head: nn.Module | None = None) -> LabelledBatch:
    """Q pairs whose vectors are three times as long as unit ones."""
    left, right = ((3 * unit(Q, seed)).requires_grad_() for seed in (1, 2))
    u, v = (nn.functional.normalize(raw, dim=-1) for raw in (left, right))
    return LabelledBatch(u, v, left, right, label, head)


def assert_same_of_pairs(strategy: Any, ours: LabelledBatch, theirs: Tensor) -> None:
    """The same loss, and the same gradients on the vectors of both sides."""
    loss, inputs = strategy.loss(ours).value, (ours.left_raw, ours.right_raw)
    torch.testing.assert_close(loss, theirs)
    mine, others = (torch.autograd.grad(each, inputs, retain_graph=True) for each in (loss, theirs))
    for left, right in zip(mine, others, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scores", [[0.0, 1.0, 1.0, 0.4, 0.2, 0.2], [0, 1, 0, 1, 1, 1], [1.0] * Q])
def test_cosent(scores: list[float]) -> None:
    """Graded scores, two of them, and pairs that cannot be compared."""
    ours = labelled(torch.tensor(scores, dtype=torch.float64))
    loss = st.CoSENTLoss(nn.Identity())
    told = loss.compute_loss_from_embeddings([ours.left_raw, ours.right_raw], ours.label)
    assert_same_of_pairs(registered()["cosent"](), ours, told)


@pytest.mark.parametrize("product", [False, True])
def test_softmax_classifier(monkeypatch: pytest.MonkeyPatch, product: bool) -> None:
    import importlib

    module = importlib.import_module("sentence_transformers.sentence_transformer.losses.softmax")
    monkeypatch.setattr(module, "embed_columns", lambda model, features: features)
    strategy = registered()["softmax_nli"](product=product)
    ours = labelled(torch.tensor([0, 1, 2, 2, 0, 1]), strategy.head(D).double())
    theirs = st.SoftmaxLoss.__new__(st.SoftmaxLoss)
    nn.Module.__init__(theirs)
    for name, value in {
        "num_labels": 3, "concatenation_sent_rep": True, "concatenation_sent_difference": True,
        "concatenation_sent_multiplication": product, "loss_fct": nn.CrossEntropyLoss(),
    }.items():  # fmt: skip
        setattr(theirs, name, value)
    theirs.model, theirs.classifier = nn.Identity(), ours.head
    assert_same_of_pairs(strategy, ours, theirs([ours.left_raw, ours.right_raw], ours.label))


def test_nt_xent_is_simcse_in_both_directions() -> None:
    """NT-Xent compares 2Q rows with all others; the part of it that goes from views to views is SimCSE's sum.

    Its references (the second views) against the first views as queries are one direction, which is ours.
    """
    ours = batch()
    loss = losses.NTXentLoss(temperature=0.05)
    told = loss(ours.queries, torch.arange(Q), ref_emb=ours.candidates, ref_labels=torch.arange(Q))
    assert_same(registered()["simcse"](scale=20.0), ours, told)


@pytest.mark.parametrize("name", ["batch_hard", "semi_hard"])
def test_triplet_miners(name: str) -> None:
    """Their miners choose the negative, their loss weighs it; semi-hard ones within the margin only."""
    ours = batch()
    distance = distances.CosineSimilarity()
    labels = torch.arange(Q)
    if name == "batch_hard":
        triplets = miners.BatchHardMiner(distance=distance)(ours.queries, labels, ours.candidates, labels.clone())
        loss = losses.TripletMarginLoss(margin=0.7, distance=distance, reducer=reducers.MeanReducer())
        told = loss(ours.queries, labels, triplets, ours.candidates, labels.clone())
        assert_same(registered()[name](margin=0.7), ours, told)
        return
    miner = miners.TripletMarginMiner(margin=2.0, distance=distance, type_of_triplets="semihard")
    anchors, _, negatives = miner(ours.queries, labels, ours.candidates, labels.clone())
    strategy = registered()[name](margin=2.0)
    hinge = strategy.loss(ours).per_example
    for q in range(Q):
        offered = [ours.similarity[q, n] for a, n in zip(anchors.tolist(), negatives.tolist(), strict=True) if a == q]
        if offered:  # theirs gives all of them, FaceNet's rule is the nearest
            torch.testing.assert_close(hinge[q], max(offered) - ours.positive_similarity[q] + 2.0)


def test_cross_batch_memory() -> None:
    """The same passages are remembered, and the loss over batch and memory is the same."""
    from bench.train.queue import PassageQueue

    memory = PassageQueue(size=2 * Q, warmup=0)
    theirs = losses.CrossBatchMemory(losses.NTXentLoss(temperature=0.05), embedding_size=D, memory_size=2 * Q)
    theirs.embedding_memory = theirs.embedding_memory.double()
    for step in range(4):
        passages, ids = unit(Q, 10 + step), torch.arange(Q) + Q * step
        recalled = memory.recall()
        memory.keep(ids, passages)
        queries = unit(Q, 20 + step).requires_grad_()
        # Theirs puts the batch in its memory first; a query's label is its passage's.
        theirs.add_to_memory(passages, ids, Q)
        stored, labels = theirs.embedding_memory, theirs.label_memory
        filled = min(Q * (step + 1), 2 * Q)
        told = theirs.loss(queries, ids, ref_emb=stored[:filled], ref_labels=labels[:filled])
        older = [] if recalled is None else list(recalled[1][:Q])
        candidates = torch.cat([passages, torch.stack(older)]) if older else passages
        relevant = torch.zeros(Q, len(candidates), dtype=torch.bool)
        relevant[torch.arange(Q), torch.arange(Q)] = True
        ours = registered()["queue"]().loss(Batch(queries, candidates, torch.arange(Q), relevant)).value
        torch.testing.assert_close(ours, told, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("mode", ["hard_negatives", "in_batch_negatives", "all_negatives"])
def test_hardness_added_to_logits(mode: str) -> None:
    ours = batch(negatives=2)
    loss = st.MultipleNegativesRankingLoss(nn.Identity(), hardness_mode=mode, hardness_strength=4.0)
    told = loss.compute_loss_from_embeddings([ours.queries, *columns_of(ours.candidates)], torch.zeros(0))
    own, others = 4.0 * (mode != "in_batch_negatives"), 4.0 * (mode != "hard_negatives")
    assert_same(registered()["hardness_logit"](own=own, batch=others, n=2), ours, told)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 2.0), (0.5, 0.0)])
def test_spread_out(weights: tuple[float, float]) -> None:
    ours = batch()
    loss = st.GlobalOrthogonalRegularizationLoss(nn.Identity(), mean_weight=weights[0], second_moment_weight=weights[1])
    parts = loss.compute_loss_from_embeddings([ours.queries, ours.candidates])
    contrast = st.MultipleNegativesRankingLoss(nn.Identity())
    told = contrast.compute_loss_from_embeddings([ours.queries, ours.candidates], torch.zeros(0)) + sum(parts.values())
    strategy = find("mnr:spread_out")
    added = type(strategy().parts[1])(*weights)
    assert_same(strategy(spread_out=added), ours, told)
