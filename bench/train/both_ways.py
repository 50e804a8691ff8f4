"""Labelled pairs as two rows each, A with B as its target and B with A: what a step encodes, and the batch of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Ids, Ragged, Split
from bench.data.pairs import Pairs
from bench.data.tokens import TokenIds, Tokens
from bench.errors import UserError
from bench.model.embedding import Cost
from bench.model.encoder import Encoded, Encoder
from bench.negatives import Drawn, Side, View
from bench.train.batch import Embedded, Surroundings, to_batch
from bench.train.example_set import ExampleSet, Parts, Request
from bench.train.masking import WordMask
from strategies.batch import Batch
from strategies.examples import BothWays

NOISE = 4  # what its stream of random numbers is for


@dataclass(frozen=True)
class _BothWaysRequest(Request):
    """Rows of sources ``source_ids`` [n], each with its target ``target_ids`` [n] of ``target_tokens`` [n] tokens."""

    parts: Parts
    related: Pairs
    queries: int
    source_ids: Ids
    target_ids: Ids
    target_tokens: Ids

    def batch(self, encoded: Encoded, around: Surroundings) -> Batch:
        device = encoded.unit.device
        source, target, count = (
            torch.from_numpy(ids).to(device) for ids in (self.source_ids, self.target_ids, self.target_tokens)
        )
        if around.view is not None:
            around = replace(around, view=_OneSpace(around.view, self.queries))
        batch = to_batch(Embedded(encoded.unit, encoded.unit, source, target, source), self.related, around)
        if encoded.terms is None:
            return batch
        terms, counts = around.joined(encoded.terms), around.joined(count)
        return replace(batch, generation=terms * len(counts) / counts.sum())


@dataclass
class _OneSpace:
    """A guide's view of texts that have one space of ids: first the queries, then the passages."""

    view: View
    queries: int
    cost: Cost = field(default_factory=Cost)

    def vectors(self, queries: Ids, passages: Ids) -> tuple[Tensor, Tensor] | None:
        both = self._vectors(np.concatenate([queries, passages]))
        return None if both is None else (both[: len(queries)], both[len(queries) :])

    def scores(self, queries: Ids, passages: Ids) -> Tensor:
        seen = self.vectors(queries, passages)
        if seen is None:
            raise TypeError(
                "scores of the data are of queries and passages; texts of both kinds need a guide's vectors"
            )
        return seen[0] @ seen[1].T

    def _vectors(self, texts: Ids) -> Tensor | None:
        of_query = texts < self.queries
        seen = self.view.vectors(texts[of_query], texts[~of_query] - self.queries)
        if seen is None:
            return None
        order = np.concatenate([np.flatnonzero(of_query), np.flatnonzero(~of_query)])
        return torch.cat(seen)[torch.from_numpy(np.argsort(order))]


def same_texts(queries: Sequence[str], passages: Sequence[str], pairs: Pairs) -> Ids:
    """[queries + passages] the first id of an equal text in the pairs; passages count from the number of queries on."""
    everyone, first = np.arange(len(queries) + len(passages)), dict[str, int]()
    for text in (*np.unique(pairs.query).tolist(), *(np.unique(pairs.positive) + len(queries)).tolist()):
        words = queries[text] if text < len(queries) else passages[text - len(queries)]
        everyone[text] = first.setdefault(words, text)
    return everyone


@dataclass(frozen=True)
class BothWaysExamples(ExampleSet):
    """(query, positive) pairs and the tokens of their two sides.

    A text has one id whichever side it is on: :func:`same_texts` gives ``first``. Texts that are equal, and texts of
    one pair, are never each other's negatives.
    """

    pairs: Pairs
    queries: Tokens
    positives: Tokens
    first: Ids
    encoder: Encoder
    declared: BothWays
    seed: int

    def __len__(self) -> int:
        return len(self.pairs)

    def request(self, rows: Ids, drawn: Drawn | None, step: int, rank: int = 0) -> Request:
        left, right = self._ids(rows)
        source_ids, target_ids = (np.stack(two, axis=1).ravel() for two in ((left, right), (right, left)))
        sources = [self._text(text) for text in source_ids.tolist()]
        if self.declared.noise:
            places = np.stack([2 * rows, 2 * rows + 1], axis=1).ravel().tolist()
            sources = [self._noised(text, step, place) for text, place in zip(sources, places, strict=True)]
        targets = (
            [self._target(text) for text in target_ids.tolist()] if self.declared.targets else [_NOTHING] * len(sources)
        )
        tokens = _joined(sources, targets)
        count = np.array([len(target) for target in targets], dtype=np.int64)
        parts = [(tokens, np.arange(len(tokens)))]
        return _BothWaysRequest(parts, self._related, len(self.queries), source_ids, target_ids, count)

    def vocabulary(self, reach: Ids) -> Ids:
        """Every token id, for all of them are compared with the target and may be noise.

        Raises :class:`UserError` for pairs that are too long for the encoder together, and a tokenizer that does not
        end texts.
        """
        if not self.declared.targets and not self.declared.noise:
            return np.unique(
                np.concatenate([self.queries.take(self.pairs.query), self.positives.take(self.pairs.positive)])
            )
        if self.declared.targets:
            self._check_targets()
        return np.arange(self.encoder.word_embeddings.num_embeddings)

    def sides(self) -> tuple[Side, Side]:
        return (self.queries, np.unique(self.pairs.query)), (self.positives, np.unique(self.pairs.positive))

    def _ids(self, rows: Ids) -> tuple[Ids, Ids]:
        """The ids of both texts of the pairs ``rows``."""
        return self.first[self.pairs.query[rows]], self.first[self.pairs.positive[rows] + len(self.queries)]

    @cached_property
    def _related(self) -> Pairs:
        """Every text with those that are no negatives of it: itself, and its partners."""
        left, right = self._ids(np.arange(len(self.pairs)))
        one, other = np.concatenate([left, right, left, right]), np.concatenate([left, right, right, left])
        together = np.unique(np.stack([one, other], axis=1), axis=0)
        texts, counts = np.unique(together[:, 0], return_counts=True)
        return Pairs(Split(texts, Ragged(np.concatenate([[0], np.cumsum(counts)]), together[:, 1])))

    @cached_property
    def _mask(self) -> WordMask:
        return WordMask.of(self.encoder.tokenizer)

    def _text(self, text: int) -> TokenIds:
        return self.queries[text] if text < len(self.queries) else self.positives[text - len(self.queries)]

    def _target(self, text: int) -> TokenIds:
        """The tokens of a text behind another: without its prefix and the special token before it."""
        tokens = self._text(text)
        prompt = self.queries.prompt if text < len(self.queries) else self.positives.prompt
        return tokens[max(prompt, int(tokens[0] == self.encoder.tokenizer.cls_token_id)) :]

    def _noised(self, source: TokenIds, step: int, place: int) -> TokenIds:
        """The source with noise or, by chance, without: the same on any number of devices."""
        rng = np.random.default_rng([self.seed, NOISE, step, place])
        return self._mask.masked(source, rng) if rng.random() < self.declared.noise else source

    def _check_targets(self) -> None:
        if not len(self.pairs):
            return
        name, end = self.encoder.config.name, int(self._text(int(self.pairs.query[0]))[-1])
        if end not in self.encoder.tokenizer.all_special_ids:
            raise UserError(f"encoder={name}: its tokenizer puts no token at the end of a text; generation needs one")
        most = self.encoder.most_tokens
        longest = int((self.queries.lengths[self.pairs.query] + self.positives.lengths[self.pairs.positive]).max())
        if most is not None and longest > most:
            raise UserError(
                f"a pair has {longest} tokens, but encoder={name} has positions for {most}, and a text and its target "
                f"stand one after the other; set encoder.max_query_tokens and encoder.max_passage_tokens to {most // 2}"
            )


_NOTHING = np.zeros(0, dtype=np.int32)


def _joined(sources: Sequence[TokenIds], targets: Sequence[TokenIds]) -> Tokens:
    """Each source with its target behind it."""
    texts = [np.concatenate(both) for both in zip(sources, targets, strict=True)]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    lengths = np.array([len(source) for source in sources], dtype=np.int64)
    return Tokens(np.concatenate([_NOTHING, *texts]), offsets, np.zeros(len(texts), dtype=np.bool_), sources=lengths)
