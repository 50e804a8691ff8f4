"""From a declaration of batches in ``strategies.batches`` to the cluster of each example."""

from __future__ import annotations

from functools import singledispatch
from time import perf_counter

import numpy as np

from bench.data.dataset import Floats, Ids
from bench.model.embedding import Cost, embed
from bench.negatives.context import NegativesContext
from bench.negatives.random_sampler import stream
from strategies.batches import Batches, Clustered, Grouped, Shuffled

CLUSTERS = 4  # what its stream of random numbers is for
ITERATIONS = 50  # at most


@singledispatch
def clusters_of(declared: Batches, context: NegativesContext) -> tuple[Ids | None, Cost]:
    """The cluster [n] of each example, or None where batches are random; and what it cost to find them."""
    raise TypeError(f"there is no implementation of {type(declared).__name__}")


@clusters_of.register
def _shuffled(declared: Shuffled, context: NegativesContext) -> tuple[None, Cost]:
    return None, Cost()


@clusters_of.register
def _clustered(declared: Clustered, context: NegativesContext) -> tuple[Ids, Cost]:
    prepared, pairs = context.encoder(declared.by), context.pairs
    tokens, ids = (prepared.queries, pairs.query) if declared.of == "queries" else (prepared.passages, pairs.positive)
    rows, place = np.unique(ids, return_inverse=True)
    vectors, cost = embed(
        prepared, tokens, rows, context.cache, context.task, "embedding for clusters", world=context.world
    )
    began = perf_counter()
    found = spherical_k_means(vectors.matrix, declared.clusters, stream(context.seed, CLUSTERS))
    return context.world.broadcast(found)[place], cost + Cost(perf_counter() - began)


@clusters_of.register
def _grouped(declared: Grouped, context: NegativesContext) -> tuple[Ids, Cost]:
    groups = context.pairs.split.groups
    if groups is None:
        raise ValueError("the data set has no groups")
    return groups[context.pairs.row], Cost()


def spherical_k_means(vectors: Floats, clusters: int, rng: np.random.Generator) -> Ids:
    """The cluster [n] of each of ``vectors`` [n, d] of unit length, by cosine.

    It begins with ``clusters`` random vectors as centres, or with all where there are fewer, and ends when no vector
    changes its cluster. A centre is the sum of its vectors at unit length; one that has lost all stays as it is.
    """
    centres = vectors[rng.permutation(len(vectors))[:clusters]].astype(np.float64)
    found = np.full(len(vectors), -1, dtype=np.int64)
    for _ in range(ITERATIONS):
        nearest = np.argmax(vectors @ centres.T.astype(vectors.dtype), axis=1)
        if np.array_equal(nearest, found):
            break
        found = nearest
        sums = np.stack([vectors[found == cluster].sum(0, dtype=np.float64) for cluster in range(len(centres))])
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
    return found
