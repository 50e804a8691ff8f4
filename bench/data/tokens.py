"""The token store: texts tokenised once, kept as two flat arrays that can be memory-mapped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.cache import Cache
from bench.data.dataset import Ids, Ragged
from bench.errors import UserError, at_least

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CHUNK = 8192  # texts encoded at a time, which bounds the memory
REVISION = 2  # of what is kept

TokenIds = NDArray[np.int32]


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, special tokens included: text ``i`` is ``ids[offsets[i] : offsets[i + 1]]``.

    ``truncated`` marks the texts that were longer than allowed and cut.
    """

    ids: TokenIds  # [offsets[-1]]
    offsets: Ids  # [texts + 1], starts with 0
    truncated: NDArray[np.bool_]  # [texts]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> TokenIds:
        return self.ids[self.offsets[text] : self.offsets[text + 1]]

    @property
    def lengths(self) -> Ids:
        """[texts] number of tokens of each text."""
        return np.diff(self.offsets)

    def take(self, rows: Ids) -> TokenIds:
        """The tokens of the given texts, end to end."""
        return self.ids[Ragged(self.offsets, np.arange(len(self.ids))).take(rows).values]

    def distinct(self, rows: Ids) -> tuple[Ids, Ids]:
        """Those of ``rows`` whose tokens no earlier one has, in order; [len(rows)] which of them each row equals."""
        places: dict[bytes, int] = {}
        place = np.array([places.setdefault(self[row].tobytes(), len(places)) for row in rows.tolist()], dtype=np.int64)
        return rows[np.unique(place, return_index=True)[1]], place


def tokenize(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    prefix: str = "",
    cache: Cache | None = None,
) -> Tokens:
    """The tokens of ``prefix + text`` for each text, at most ``max_tokens`` each, special tokens included.

    Special tokens are those that the tokenizer itself adds to one text. The tokenizer is left as it is. With
    ``cache`` the result is kept there under a hash of the texts, the tokenizer and the settings, and read from
    there the next time, mapped into memory. Raises
    :class:`UserError` when the tokenizer has no fast backend or ``max_tokens`` leaves no room for a text.
    """
    backend = _own_copy(tokenizer)
    at_least("max_tokens", max_tokens, backend.num_special_tokens_to_add(False) + 1)
    if cache is None:
        return _encode(texts, backend, max_tokens, prefix)
    key = _key(texts, backend, max_tokens, prefix)

    def make(place: Path) -> dict[str, object]:
        logger.info("tokenising %d texts", len(texts))
        made = _encode(texts, backend, max_tokens, prefix)
        for name in ("ids", "offsets", "truncated"):
            np.save(place / f"{name}.npy", getattr(made, name))
        return {}

    found = cache.entry(f"tokens-{key}", make)
    return Tokens(found.array("ids"), found.array("offsets"), found.array("truncated"))


def _own_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A private copy of the backend without truncation and padding, so that the caller's is unchanged."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"{type(tokenizer).__name__} has no fast tokenizer (tokenizer.json); "
            "save one with AutoTokenizer.from_pretrained(..., use_fast=True).save_pretrained(...)"
        )
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _key(texts: Sequence[str], backend: Tokenizer, max_tokens: int, prefix: str) -> str:
    """A hash of everything that the tokens depend on."""
    digest = hashlib.sha256(f"{REVISION} {max_tokens} {len(prefix)} {prefix}{backend.to_str()}".encode())
    digest.update(np.fromiter(map(len, texts), dtype="<i8", count=len(texts)).tobytes())
    for start in range(0, len(texts), CHUNK):
        digest.update("".join(texts[start : start + CHUNK]).encode())
    return digest.hexdigest()[:32]


def _encode(texts: Sequence[str], backend: Tokenizer, max_tokens: int, prefix: str) -> Tokens:
    backend.enable_truncation(max_tokens)
    truncated: list[bool] = []
    lengths: list[int] = []
    chunks: list[TokenIds] = []
    for start in range(0, len(texts), CHUNK):
        chunk = [prefix + text for text in texts[start : start + CHUNK]]
        encodings = backend.encode_batch_fast(chunk)
        truncated.extend(bool(encoding.overflowing) for encoding in encodings)
        rows = [encoding.ids for encoding in encodings]
        lengths.extend(map(len, rows))
        chunks.append(np.array(list(chain.from_iterable(rows)), dtype=np.int32))
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    ids = np.concatenate(chunks) if chunks else np.empty(0, np.int32)
    return Tokens(ids, offsets, np.array(truncated, dtype=np.bool_))
