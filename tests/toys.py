"""Small things that tests build on: a learnable data set, a tiny encoder, what a batch needs."""

from __future__ import annotations

import numpy as np
import torch
from transformers import BertConfig, BertModel

from bench.data.dataset import DataSet, Ragged, Split
from bench.model.config import EncoderConfig
from bench.model.encoder import Encoder
from bench.model.scratch import word_piece

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
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )
    settings = EncoderConfig(name="toy", max_query_tokens=16, max_passage_tokens=16, **config)
    return Encoder(BertModel(bert), tokenizer, settings).prepare(CPU)
