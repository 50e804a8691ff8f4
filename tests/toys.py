"""Small things that tests build on: a learnable data set, a tiny encoder, what a batch needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from bench.data.dataset import DataSet, Ragged, Split
from bench.data.pairs import Pairs
from bench.data.tokens import tokenize
from bench.model.config import EncoderConfig
from bench.model.encoder import Encoder
from bench.model.scratch import word_piece
from bench.negatives import source
from bench.train.config import TrainConfig
from bench.train.loop import Hooks, Progress, Trainer
from bench.train.step import Stepper
from strategies import Strategy

CPU = torch.device("cpu")
WORDS = [a + b for a in ("ka", "lo", "mi", "nu", "pe", "ri", "so", "tu") for b in ("ban", "dor", "fel", "gim", "hux")]


def toy_data(topics: int = 40) -> DataSet:
    """A query names a topic in one language, its passages in another: learnable, and not by shared words.

    Of a topic's three queries the first has both its passages as relevant, the second the second one; the
    third is a dev query with the first.
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
    return DataSet("toy", queries, passages, {"train": train, "dev": dev}, fingerprint="toy")


def toy_encoder(data: DataSet, *, dropout: float = 0.1, seed: int = 0, **config: object) -> Encoder:
    """A two-layer BERT of 32 dimensions with a vocabulary learnt from the toy data."""
    torch.manual_seed(seed)
    tokenizer = word_piece([*data.queries, *data.passages], 300)
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
    return Encoder(BertModel(bert), tokenizer, settings).prepare(CPU)


@dataclass
class Training:
    """A strategy about to be trained on the toy data, with all that the engine needs."""

    strategy: Strategy
    directory: Path = Path("unused")
    dropout: float = 0.1
    micro_batch: int | None = None
    max_steps: int | None = None
    epochs: int = 1
    save_every: int = 500
    eval_every: int | None = 0
    lr: float = 1e-3
    precision: str = "fp32"

    def __post_init__(self) -> None:
        self.data = toy_data()
        self.encoder = toy_encoder(self.data, dropout=self.dropout)
        self.encoder.train()
        self.queries, self.passages = (
            tokenize(texts, self.encoder.tokenizer, 16) for texts in (self.data.queries, self.data.passages)
        )
        self.pairs = Pairs(self.data.splits["train"])
        self.events: list[dict[str, Any]] = []

    def stepper(self) -> Stepper:
        return Stepper(
            self.encoder, self.strategy, self.pairs, self.queries, self.passages, self.precision, self.micro_batch
        )

    def gradients(self, cached: bool | None = None) -> dict[str, Tensor]:
        """Gradients of the first 16 pairs by parameter name."""
        self.encoder.zero_grad()
        rows = np.arange(16)
        self.stepper().backward(self.pairs.query[rows], self.pairs.positive[rows], None, cached=cached)
        return {n: p.grad.clone() for n, p in self.encoder.named_parameters() if p.grad is not None}

    def fit(
        self,
        on_step: Callable[[int], None] = lambda step: None,
        evaluate: Callable[[], dict[str, float]] | None = None,
    ) -> Progress:
        config = TrainConfig(
            batch_size=8,
            micro_batch=self.micro_batch,
            epochs=self.epochs,
            max_steps=self.max_steps,
            lr=self.lr,
            save_every=self.save_every,
            eval_every=self.eval_every,
            log_every=5,
        )
        hooks = Hooks(event=self.events.append, progress=lambda step, total, rate: on_step(step), evaluate=evaluate)
        return Trainer(
            self.encoder,
            self.strategy,
            self.pairs,
            self.queries,
            self.passages,
            source(self.strategy.negatives, self.data, 0),
            config,
            self.precision,
            0,
            self.directory,
            hooks,
        ).fit()
