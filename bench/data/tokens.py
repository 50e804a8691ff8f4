"""The token store: texts tokenised once, kept as two flat arrays that can be memory-mapped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
REVISION = 3  # of what is kept
_KEPT = ("ids", "offsets", "truncated", "unknown")

TokenIds = NDArray[np.int32]


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, special tokens included: text ``i`` is ``ids[offsets[i] : offsets[i + 1]]``.

    ``truncated`` marks the texts that were longer than allowed and cut, ``unknown`` counts the tokens of each text that
    stand for what the vocabulary lacks. The first ``prompt`` tokens of each text are those of the prefix. Where a text
    is a source and a target to be generated from it, ``sources`` counts the tokens of the source, which stands first.
    """

    ids: TokenIds  # [offsets[-1]]
    offsets: Ids  # [texts + 1], starts with 0
    truncated: NDArray[np.bool_]  # [texts]
    unknown: TokenIds = field(default_factory=lambda: np.zeros(0, dtype=np.int32))  # [texts]
    prompt: int = 0
    sources: Ids | None = None  # [texts]

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

    def batches(self, rows: Ids, most: int) -> Iterator[Ids]:
        """Places in ``rows`` in batches of at most ``most`` tokens when padded; a longer text is a batch of its own.

        The longest texts come first: too little memory shows at once.
        """
        lengths = self.lengths[rows]
        order = np.argsort(-lengths, kind="stable")
        begin = 0
        while begin < len(order):
            count = max(1, most // int(lengths[order[begin]]))
            yield order[begin : begin + count]
            begin += count

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

    Special tokens are those that the tokenizer itself adds to one text. A text without any token gets one that stands
    for nothing. The tokenizer is left as it is. With ``cache`` the result is kept there under a hash of the texts, the
    tokenizer and the settings, and read from there the next time, mapped into memory. Raises :class:`UserError` when
    the tokenizer has no fast backend or ``max_tokens`` leaves no room for a text.
    """
    reader = Reader.of(tokenizer, max_tokens, prefix)
    if cache is None:
        return reader.read(texts)
    key = _key(texts, reader, _own_copy(tokenizer).to_str())

    def make(place: Path) -> dict[str, object]:
        logger.info("tokenising %d texts", len(texts))
        made = reader.read(texts)
        for name in _KEPT:
            np.save(place / f"{name}.npy", getattr(made, name))
        return {}

    found = cache.entry(f"tokens-{key}", make)
    ids, offsets, truncated, unknown = (found.array(name) for name in _KEPT)
    return Tokens(ids, offsets, truncated, unknown, reader.prompt)


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


@dataclass(frozen=True)
class Reader:
    """How texts become tokens, kept for many calls, also of several threads: making one copies the whole vocabulary.

    ``unknown`` is the id of what the vocabulary lacks, ``nothing`` that of no text, ``prompt`` the number of tokens of
    the prefix.
    """

    backend: Tokenizer
    max_tokens: int
    prefix: str
    side: str
    unknown: int | None
    nothing: int
    prompt: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, max_tokens: int, prefix: str = "") -> Reader:
        """See :func:`tokenize`."""
        backend = _own_copy(tokenizer)
        at_least("max_tokens", max_tokens, backend.num_special_tokens_to_add(False) + 1)
        side, (unknown, nothing) = tokenizer.truncation_side, _stand_ins(tokenizer, backend)
        prompt = _prompt_length(tokenizer, backend, prefix)
        backend.enable_truncation(max_tokens, direction=side)  # once, as no thread may change what another uses
        return cls(backend, max_tokens, prefix, side, unknown, nothing, prompt)

    def read(self, texts: Sequence[str]) -> Tokens:
        """The tokens of the texts."""
        truncated: list[bool] = []
        lengths: list[int] = []
        unknown: list[int] = []
        chunks: list[TokenIds] = []
        for start in range(0, len(texts), CHUNK):
            chunk = [self.prefix + text for text in texts[start : start + CHUNK]]
            encodings = self.backend.encode_batch_fast(chunk)
            truncated.extend(bool(encoding.overflowing) for encoding in encodings)
            rows = [encoding.ids or [self.nothing] for encoding in encodings]
            lengths.extend(map(len, rows))
            unknown.extend(0 if self.unknown is None else row.count(self.unknown) for row in rows)
            chunks.append(np.array(list(chain.from_iterable(rows)), dtype=np.int32))
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        ids = np.concatenate(chunks) if chunks else np.empty(0, np.int32)
        return Tokens(ids, offsets, np.array(truncated, dtype=np.bool_), np.array(unknown, dtype=np.int32), self.prompt)


def _stand_ins(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer) -> tuple[int | None, int]:
    """The ids of :class:`Reader`. A byte-level vocabulary lacks nothing, whatever its tokenizer names as unknown."""
    model = backend.model
    if hasattr(model, "unk_token"):
        unknown = None if model.unk_token is None else backend.token_to_id(model.unk_token)
    else:  # Unigram
        unknown = tokenizer.unk_token_id
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    return unknown, next((token for token in known if token is not None), 0)


def _prompt_length(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer, prefix: str) -> int:
    """How many first tokens are the prefix, as Sentence Transformers counts them: alone, without a special last one."""
    ids = backend.encode(prefix).ids if prefix else []
    return len(ids) - bool(ids and ids[-1] in tokenizer.all_special_ids)


def _key(texts: Sequence[str], reader: Reader, vocabulary: str) -> str:
    """A hash of everything that the tokens depend on; ``vocabulary`` is the whole tokenizer before it cuts."""
    settings = [REVISION, reader.max_tokens, reader.side, reader.unknown, reader.nothing, len(reader.prefix)]
    told = " ".join(map(str, [*settings, reader.prefix]))
    digest = hashlib.sha256(f"{told}{vocabulary}".encode())
    digest.update(np.fromiter(map(len, texts), dtype="<i8", count=len(texts)).tobytes())
    for start in range(0, len(texts), CHUNK):
        digest.update("".join(texts[start : start + CHUNK]).encode())
    return digest.hexdigest()[:32]
