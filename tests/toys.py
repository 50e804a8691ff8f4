"""Small things that tests build on: a learnable data set, a tiny encoder, what a batch needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import hypothesis
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertModel

from bench.data.dataset import DataSet, Ragged, Split, TextPairs
from bench.data.pairs import Pairs
from bench.data.tokens import tokenize
from bench.model.config import EncoderConfig
from bench.model.encoder import Encoder
from bench.model.prepared import Prepared
from bench.model.scratch import word_piece
from bench.model.trial import prepare
from bench.negatives import NegativeSampler, NegativesContext, clusters_of, negative_sampler, view
from bench.train.config import TrainConfig
from bench.train.examples import PairExamples, Texts, examples_of
from bench.train.learner import Learner
from bench.train.state import Progress
from bench.train.step import Objective, Stepper, random_state, set_random_state
from bench.train.trainer import Conditions, Hooks, Trainer
from bench.world import World
from strategies import Strategy, registered

CPU = torch.device("cpu")
WORDS = [a + b for a in ("ka", "lo", "mi", "nu", "pe", "ri", "so", "tu") for b in ("ban", "dor", "fel", "gim", "hux")]
SCRATCH = TemporaryDirectory(prefix="negbench-")  # goes when the tests end
MNR = registered()["mnr"]()

plainly = hypothesis.settings(deadline=None, derandomize=True)


def unit(*shape: int, seed: int = 0) -> Tensor:
    """Random vectors of length one."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def toy_data(topics: int = 40) -> DataSet:
    """A query names a topic in one language, its passages in another: learnable, and not by shared words.

    Of a topic's three queries the first has both its passages as relevant, the second the second one; the
    third is a dev query with the first. Training queries have up to three negatives, with scores. Behind
    the queries stands each passage once more, as a text of the tasks.
    """
    rng = np.random.default_rng(0)
    queries, passages = [], []
    for topic in range(topics):
        a, b = WORDS[topic % 40], WORDS[(topic * 7 + 3) % 40]
        passages += [f"{a.upper()}x {b}y {rng.choice(WORDS)}z", f"{a.upper()}x w{b} {rng.choice(WORDS)}"]
        queries += [f"{a} {b} {number} {rng.choice(WORDS)}" for number in ("one", "two", "three")]
    first, second = 2 * np.arange(topics), 2 * np.arange(topics) + 1
    train = Split(
        np.stack([3 * np.arange(topics), 3 * np.arange(topics) + 1], 1).ravel(),
        Ragged.of([row for f, s in zip(first, second, strict=True) for row in ([f, s], [s])]),
    )
    dev = Split(3 * np.arange(topics) + 2, Ragged.of([[p] for p in first]))
    far = np.stack([(train.queries * 5 + shift) % (2 * topics) for shift in (11, 24, 37)], 1)
    train = replace(
        train,
        negatives=Ragged.of([[p for p in row if p not in train.relevant[n]] for n, row in enumerate(far.tolist())]),
        positive_scores=np.full(len(train.relevant.values), 2.0, dtype=np.float32),
    )
    assert train.negatives is not None
    train = replace(train, negative_scores=rng.random(len(train.negatives.values)).astype(np.float32))
    unlabelled = [" ".join(rng.choice(WORDS, 6, replace=False)) for _ in range(2 * topics)]
    tasks = toy_tasks(train, len(queries), 2 * topics)
    splits = {"train": train, "dev": dev}
    return DataSet("toy", [*queries, *passages], passages, splits, unlabelled, fingerprint="toy", tasks=tasks)


def toy_tasks(train: Split, queries: int, passages: int) -> dict[str, dict[str, TextPairs]]:
    """Each topic's first query with its first passage, with another topic's query, and with another topic's passage.

    As a similarity task the three have the scores 5, 1 and 0, as an inference set a class each.
    """
    asked, own = train.queries[::2], train.relevant.values[train.relevant.offsets[:-1:2]]
    far = (own + 2 * (1 + asked % 17)) % passages
    other = (asked + 3 * (1 + asked % 5)) % queries
    left, right = np.repeat(asked, 3), np.stack([queries + own, other, queries + far], 1).ravel()
    score, place = (np.tile(np.array(each, dtype=np.float32), len(asked)) for each in ([5, 1, 0], [0, 1, 2]))
    classes = ("entailment", "neutral", "contradiction")
    return {
        "similarity": {"train": TextPairs(left, right, score)},
        "inference": {"train": TextPairs(left, right, place, classes)},
    }


DATA = toy_data()
TRAIN = DATA.splits["train"]
PAIRS = Pairs(TRAIN)
ROWS = np.arange(len(PAIRS))


def toy_encoder(
    data: DataSet, *, dropout: float = 0.1, seed: int = 0, device: torch.device = CPU, **config: object
) -> Encoder:
    """A two-layer BERT of 32 dimensions with a vocabulary learnt from the toy data."""
    tokenizer = word_piece(list(dict.fromkeys([*data.queries, *data.passages])), 300)
    bert = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    settings = EncoderConfig(name="toy", max_query_tokens=16, max_passage_tokens=16, **config)
    torch.manual_seed(seed)
    return prepare(Encoder(BertModel(bert), tokenizer, settings), device)


@dataclass
class Training:
    """A strategy about to be trained on the toy data, with all that the engine needs."""

    strategy: Strategy
    directory: Path = field(default_factory=lambda: Path(mkdtemp(dir=SCRATCH.name)))
    dropout: float = 0.1
    batch_size: int = 8
    micro_batch: int | None = None
    max_steps: int | None = None
    epochs: int = 1
    save_every: int = 500
    eval_every: int | None = 0
    lr: float = 1e-3
    precision: str = "fp32"
    device: torch.device = CPU

    def __post_init__(self) -> None:
        self.data = toy_data()
        self.encoder = toy_encoder(self.data, dropout=self.dropout, device=self.device)
        self.encoder.train()
        self.queries, self.passages = (
            tokenize(texts, self.encoder.tokenizer, 16) for texts in (self.data.queries, self.data.passages)
        )
        self.pairs = Pairs(self.data.splits["train"])
        self.events: list[dict[str, Any]] = []

    def prepared(self, name: str) -> Prepared:
        """The encoder itself, or for any other name one with other weights."""
        encoder = self.encoder if name in ("start", "current") else self.another
        return Prepared(self.data, encoder, self.queries, self.passages, "fp32")

    @cached_property
    def another(self) -> Encoder:
        return toy_encoder(self.data, dropout=0.0, seed=1, device=self.device)

    @property
    def examples(self) -> PairExamples:
        """The labelled pairs."""
        return PairExamples(self.pairs, self.queries, self.passages)

    def objective(self, stage: Strategy, place: Path, world: World | None = None) -> Objective:
        """What a stage is trained on and with."""
        cut = lambda texts: tokenize(texts, self.encoder.tokenizer, 16)  # noqa: E731
        found = examples_of(stage.examples, Texts(self.data, self.queries, self.passages, cut, 16, 0, self.encoder))
        context = NegativesContext(self.data, self.pairs, 0, self.prepared, place, world=world or World())
        sampler = negative_sampler(stage.negatives, context)
        sides = lambda reader: found.sides()  # noqa: E731 - the encoders here share a vocabulary
        guide = None if stage.guide is None else view(stage.guide, context, sides, sampler.reach())
        return Objective(stage, found, sampler, guide, clusters_of(stage.batches, context)[0])

    @cached_property
    def first(self) -> Learner:
        """The learner of the first stage, whose head is drawn from random numbers that threads would share."""
        return self.learner(self.strategy.stages()[0])

    def learner(self, stage: Strategy, before: Learner | None = None) -> Learner:
        return Learner.of(self.encoder, stage, 0, None if before is None else before.language)

    def stepper(self) -> Stepper:
        objective = Objective(self.strategy, self.examples, NegativeSampler())
        return Stepper(self.learner(self.strategy), objective, self.precision, self.micro_batch)

    def gradients(self, cached: bool | None = None) -> dict[str, Tensor]:
        """Gradients of the first 16 examples of the last stage by parameter name."""
        rows, stage, start = np.arange(16), self.strategy.stages()[-1], random_state(CPU)
        objective = self.objective(stage, self.directory)
        if objective.sampler.due(0):
            objective.sampler.refresh(0)
        learner = self.learner(stage)
        set_random_state(start, CPU)
        learner.zero_grad()
        drawn = objective.sampler.draw(rows, 0)
        Stepper(learner, objective, self.precision, self.micro_batch).backward(rows, drawn, cached=cached)
        return {n: p.grad.clone() for n, p in learner.named_parameters() if p.grad is not None}

    def fit(
        self,
        on_step: Callable[[int], None] = lambda step: None,
        evaluate: Callable[[], dict[str, float]] | None = None,
        world: World | None = None,
    ) -> Progress:
        """Train all stages; what the last one came to."""
        config = TrainConfig(
            batch_size=self.batch_size,
            micro_batch=self.micro_batch,
            epochs=self.epochs,
            max_steps=self.max_steps,
            lr=self.lr,
            save_every=self.save_every,
            eval_every=self.eval_every,
            log_every=5,
        )
        hooks = Hooks(
            event=self.events.append,
            progress=lambda step, total, rate: on_step(step),
            evaluate=evaluate,
            selection="exact/mrr@10",
        )
        stages = self.strategy.stages()
        learner = None
        for number, stage in enumerate(stages):
            learner = self.first if learner is None else self.learner(stage, learner)
            place = self.directory / str(number) if len(stages) > 1 else self.directory
            conditions = Conditions(0, self.precision, place, world or World())
            done = Trainer(learner, self.objective(stage, place, world), config, conditions, hooks).fit()
        return done
