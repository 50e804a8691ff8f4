"""A batch in groups that do not share negatives: each has a loss of its own, and so a batch of its own.

Several cards that do not exchange passages, as PaddleNLP's, train so: four cards of 64 pairs are a batch of 256 in four
groups, on any number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.data.dataset import Ids
from bench.model.encoder import Encoded
from bench.negatives import Drawn
from bench.train.batch import Surroundings
from bench.train.example_set import ExampleSet, Parts, Request
from strategies import Batch, LabelledBatch, Loss


@dataclass(frozen=True)
class Group:
    """The batch of a group, with its loss and the negatives that were sampled for it."""

    batch: Batch | LabelledBatch
    loss: Loss
    drawn: Drawn | None


@dataclass(frozen=True)
class Groups:
    """The batch of a step: all groups that have an example."""

    groups: Sequence[Group]

    @property
    def loss(self) -> Loss:
        """The terms of all groups, each counting as much; what is added to a group's loss counts by its examples."""
        losses = [group.loss for group in self.groups]
        terms = torch.cat([loss.per_example for loss in losses])
        added = [loss.added * (len(loss.per_example) / len(terms)) for loss in losses if loss.added is not None]
        return Loss(terms, added=torch.stack(added).sum() if added else None)


@dataclass(frozen=True)
class Asked:
    """What one rank encodes of a step: a request of each group, with its negatives and its surroundings."""

    groups: Sequence[tuple[Request, Drawn | None, Surroundings]]

    @classmethod
    def of(
        cls, examples: ExampleSet, rows: Ids, drawn: Drawn | None, step: int, around: Sequence[Surroundings]
    ) -> Asked:
        """The examples ``rows`` [n] with the negatives ``drawn`` for them, in as many groups as there are ``around``.

        Groups are parts of the batch, one after the other, of equal size or one example more. Every rank encodes its
        share of each.
        """
        found = []
        for number, places in enumerate(np.array_split(np.arange(len(rows)), len(around))):
            if not len(places) and number:
                continue
            own = None if drawn is None else drawn.take(places)
            world = around[number].world
            mine = world.share(places)
            part = None if own is None else own.take(mine)
            random = number * world.size + world.rank
            found.append((examples.request(rows[places[mine]], part, step, random), own, around[number]))
        return cls(found)

    @property
    def parts(self) -> Parts:
        """All texts, group by group."""
        return [part for request, _, _ in self.groups for part in request.parts]

    @property
    def texts(self) -> int:
        """Their number."""
        return sum(request.texts for request, _, _ in self.groups)

    def groups_of(self, encoded: Encoded, loss: Callable[[Batch | LabelledBatch], Loss]) -> Groups:
        """The groups of all ranks with their ``loss``; ``encoded`` has the vectors of this rank's :attr:`parts`."""
        found, start = [], 0
        for request, drawn, around in self.groups:
            end = start + request.texts
            batch = request.batch(encoded.part(start, end), around)
            found.append(Group(batch, loss(batch), drawn))
            start = end
        return Groups(found)
