"""Decoding a target from a source, token by token, with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from bench.model.encoder import Encoder
from bench.model.language import LanguageModelHead
from bench.model.packing import Packed

MOST_TOKENS = 64  # of a generated text; RoFormer-Sim's maxlen
TOP_P = 0.95


class Decoder:
    """``count`` continuations of one source side by side, with the logits of their next tokens.

    The source is read once, then each token once, by a cache of keys and values. The library's own loop cannot be used:
    it reads the source causally. A model without such a cache reads everything anew for each token.
    """

    def __init__(self, encoder: Encoder, head: LanguageModelHead, source: Sequence[int], count: int) -> None:
        self.encoder, self.head, self.source = encoder, head, list(source)
        self.targets = torch.zeros(count, 0, dtype=torch.long)
        self.cache: DynamicCache | None = DynamicCache(config=encoder.transformer.config)
        try:
            logits = self._read_on(torch.tensor([self.source]), target=False)
        except TypeError:  # an argument that the model does not know
            logits = None
        if logits is None or self.cache.get_seq_length() != len(self.source):
            self.cache = None
            logits = self._read_all(self.targets[:1])
        else:
            self.cache.batch_repeat_interleave(count)
        self.logits = logits.repeat(count, 1)

    def step(self, tokens: Tensor) -> Tensor:
        """[count, vocabulary] the logits after one more token ``tokens`` [count] of each continuation."""
        self.targets = torch.cat([self.targets, tokens.cpu()[:, None]], dim=1)
        self.logits = (
            self._read_all(self.targets) if self.cache is None else self._read_on(tokens[:, None], target=True)
        )
        return self.logits

    def keep(self, rows: Tensor) -> None:
        """Go on with the continuations ``rows`` alone."""
        self.targets = self.targets[rows.cpu()]
        if self.cache is not None:
            self.cache.batch_select_indices(rows.to(self.encoder.device))

    def _read_on(self, ids: Tensor, target: bool) -> Tensor:
        """The logits after the last of ``ids`` [n, L], which see what the cache has and each other."""
        encoder, (count, length) = self.encoder, ids.shape
        assert self.cache is not None
        everything = torch.ones(count, length, self.cache.get_seq_length() + length, dtype=torch.bool)
        out = encoder.transformer(
            input_ids=ids.to(encoder.device),
            attention_mask=encoder.additive(everything),
            past_key_values=self.cache,
            **encoder.segments(torch.full_like(ids, int(target))),
        )
        return self._logits(out.last_hidden_state[:, -1])

    def _read_all(self, targets: Tensor) -> Tensor:
        """The logits after ``targets`` [n, L], all read behind the source as in training."""
        count, length = len(targets), len(self.source) + targets.shape[1]
        ids = torch.cat([torch.tensor(self.source).repeat(count, 1), targets], dim=1)
        lengths, sources = np.full(count, length), np.full(count, len(self.source))
        states = self.encoder.states(Packed(ids.flatten(), lengths, torch.arange(count), sources=sources))[-1]
        return self._logits(states.view(count, length, -1)[:, -1])

    def _logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.head(states, self.encoder.word_embeddings.weight)
        return logits.float()


@torch.no_grad()
def sample(
    encoder: Encoder,
    head: LanguageModelHead,
    source: Sequence[int],
    count: int,
    generator: torch.Generator,
    top_p: float = TOP_P,
    most: int = MOST_TOKENS,
) -> list[list[int]]:
    """The tokens of ``count`` targets of ``source``, each up to ``most`` long, without the token that ends it.

    Every token is drawn from the most probable ones whose probabilities first reach ``top_p`` together (nucleus
    sampling, Holtzman et al. 2020). Special tokens are never drawn but the one that ends the source, which ends a
    target, too.
    """
    end = int(source[-1])
    if encoder.most_tokens is not None:
        most = min(most, encoder.most_tokens - len(source))
    never = torch.tensor([token for token in encoder.tokenizer.all_special_ids if token != end], dtype=torch.long)
    targets: list[list[int]] = [[] for _ in range(count)]
    going = torch.arange(count)
    with padded(encoder):
        decoder = Decoder(encoder, head, source, count)
        logits = decoder.logits
        for length in range(1, most + 1):
            drawn = nucleus(logits.cpu().index_fill(1, never, -torch.inf), top_p, generator)
            on = drawn != end
            for row, token in zip(going[on].tolist(), drawn[on].tolist(), strict=True):
                targets[row].append(token)
            if length == most or not on.any():
                break
            if not on.all():
                decoder.keep(on.nonzero()[:, 0])
            going = going[on]
            logits = decoder.step(drawn[on])
    return targets


def nucleus(logits: Tensor, top_p: float, generator: torch.Generator) -> Tensor:
    """[n] a token for each row of ``logits`` [n, vocabulary], drawn from the fewest that have probability ``top_p``."""
    probability, token = logits.softmax(1).sort(dim=1, descending=True, stable=True)
    before = probability.cumsum(1) - probability
    probability = probability.masked_fill(before >= top_p, 0.0)
    return token.gather(1, torch.multinomial(probability, 1, generator=generator))[:, 0]


@contextmanager
def padded(encoder: Encoder) -> Iterator[None]:
    """Without dropout, and with padding and an attention that takes a cache: the one for packed texts does not."""
    packs, training, attention = encoder.packs, encoder.training, encoder.transformer.config._attn_implementation
    encoder.eval()
    if packs:
        encoder.packs = False
        encoder.transformer.set_attn_implementation("eager")
    try:
        yield
    finally:
        if packs:
            encoder.packs = True
            encoder.transformer.set_attn_implementation(attention)
        encoder.train(training)
