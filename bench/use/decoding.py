"""Decoding a target from a source, token by token, with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache

from bench.model.encoder import Encoder
from bench.model.language import LanguageModelHead

MOST_TOKENS = 64  # of a generated text; RoFormer-Sim's maxlen
TOP_P = 0.95


class Decoder:
    """``count`` continuations of one source side by side; each call gives the logits of their next tokens.

    The source is read once. The library's own loop cannot be used: it reads the source causally.
    """

    def __init__(self, encoder: Encoder, head: LanguageModelHead, source: Sequence[int], count: int) -> None:
        self.encoder, self.head = encoder, head
        self.cache = DynamicCache(config=encoder.transformer.config)
        ids = torch.tensor([list(source)], device=encoder.device)
        self.logits = self._read(ids, target=False).repeat(count, 1)
        self.cache.batch_repeat_interleave(count)

    def step(self, tokens: Tensor) -> Tensor:
        """[count, vocabulary] the logits after one more token ``tokens`` [count] of each continuation."""
        self.logits = self._read(tokens.to(self.encoder.device)[:, None], target=True)
        return self.logits

    def keep(self, rows: Tensor) -> None:
        """Go on with the continuations ``rows`` alone."""
        self.cache.batch_select_indices(rows.to(self.encoder.device))

    def _read(self, ids: Tensor, target: bool) -> Tensor:
        """The logits after the last of ``ids`` [n, L], which see everything before them and each other."""
        encoder, (count, length) = self.encoder, ids.shape
        everything = torch.ones(count, length, self.cache.get_seq_length() + length, dtype=torch.bool)
        out = encoder.transformer(
            input_ids=ids,
            attention_mask=encoder.additive(everything),
            past_key_values=self.cache,
            **encoder.segments(torch.full_like(ids, int(target))),
        )
        logits: Tensor = self.head(out.last_hidden_state[:, -1], encoder.word_embeddings.weight)
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
    with _plain_attention(encoder):
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
def _plain_attention(encoder: Encoder) -> Iterator[None]:
    """Without dropout, and with an attention that takes a cache: the one for packed texts does not."""
    transformer, training = encoder.transformer, encoder.training
    before = transformer.config._attn_implementation
    encoder.eval()
    if encoder.packs:
        transformer.set_attn_implementation("eager")
    try:
        yield
    finally:
        if encoder.packs:
            transformer.set_attn_implementation(before)
        encoder.train(training)
