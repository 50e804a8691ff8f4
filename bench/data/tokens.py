"""The token store: texts tokenised once, kept as two flat arrays that can be read from disk as they lie."""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bench.data.cache import keep
from bench.data.dataset import Ids, Ragged
from bench.errors import UserError, at_least

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CHUNK = 8192  # texts encoded at a time, which bounds the memory
REVISION = 1  # of the file
HEAD = 4 * 8  # bytes

TokenIds = NDArray[np.int32]


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, special tokens included: text ``i`` is ``ids[offsets[i] : offsets[i + 1]]``.

    ``truncated`` is the number of texts that were longer than allowed and cut.
    """

    ids: TokenIds  # [offsets[-1]]
    offsets: Ids  # [texts + 1], starts with 0
    truncated: int

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


def tokenize(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    prefix: str = "",
    cache: Path | None = None,
) -> Tokens:
    """The tokens of ``prefix + text`` for each text, at most ``max_tokens`` each, special tokens included.

    Special tokens are those that the tokenizer itself adds to one text. The tokenizer is left as it is. With
    ``cache`` (a directory) the result is kept there under a hash of the texts, the tokenizer and the settings,
    and read from there the next time, mapped into memory; a damaged file is made again. Raises
    :class:`UserError` when the tokenizer has no fast backend or ``max_tokens`` leaves no room for a text.
    """
    backend = _own_copy(tokenizer)
    at_least("max_tokens", max_tokens, backend.num_special_tokens_to_add(False) + 1)
    if cache is None:
        return _encode(texts, backend, max_tokens, prefix)
    path = cache / f"tokens-{_key(texts, backend, max_tokens, prefix)}.bin"
    try:
        return _load(path, len(texts))
    except FileNotFoundError:
        logger.info("tokenising %d texts", len(texts))
    except (OSError, ValueError) as error:
        logger.warning("%s is damaged (%s) and is made again", path, error)
    tokens = _encode(texts, backend, max_tokens, prefix)
    return _load(path, len(texts)) if keep(path, lambda file: _save(file, tokens)) else tokens


def _own_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A private backend without truncation and padding, so that nothing done to it is seen outside."""
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
    """A hash of all that the tokens follow from."""
    digest = hashlib.sha256(f"{REVISION} {max_tokens} {len(prefix)} {prefix}{backend.to_str()}".encode())
    digest.update(np.fromiter(map(len, texts), dtype="<i8", count=len(texts)).tobytes())
    for start in range(0, len(texts), CHUNK):
        digest.update("".join(texts[start : start + CHUNK]).encode())
    return digest.hexdigest()[:32]


def _encode(texts: Sequence[str], backend: Tokenizer, max_tokens: int, prefix: str) -> Tokens:
    backend.enable_truncation(max_tokens)
    truncated = 0
    lengths: list[int] = []
    chunks: list[TokenIds] = []
    for start in range(0, len(texts), CHUNK):
        chunk = [prefix + text for text in texts[start : start + CHUNK]]
        encodings = backend.encode_batch_fast(chunk)
        truncated += sum(bool(encoding.overflowing) for encoding in encodings)
        rows = [encoding.ids for encoding in encodings]
        lengths.extend(map(len, rows))
        chunks.append(np.array(list(chain.from_iterable(rows)), dtype=np.int32))
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Tokens(np.concatenate(chunks) if chunks else np.empty(0, np.int32), offsets, truncated)


def _save(file: BinaryIO, tokens: Tokens) -> None:
    """A head of four numbers (texts, ids, truncated, checksum), then offsets, then ids, all little-endian."""
    head = [len(tokens), len(tokens.ids), tokens.truncated, _checksum(tokens)]
    for values, kind in ((np.array(head), "<i8"), (tokens.offsets, "<i8"), (tokens.ids, "<i4")):
        file.write(values.astype(kind, copy=False).data)


def _load(path: Path, texts: int) -> Tokens:
    """The tokens in a file of :func:`_save`, ids mapped. Raises ``ValueError`` when it is not whole."""
    head = np.fromfile(path, "<i8", 4).tolist()
    ids_at = HEAD + 8 * (texts + 1)
    if len(head) < 4 or head[0] != texts or path.stat().st_size != ids_at + 4 * head[1]:
        raise ValueError("its size is not what it should be")
    _, size, truncated, checksum = head
    offsets = np.fromfile(path, "<i8", texts + 1, offset=HEAD)
    ids = np.memmap(path, "<i4", "r", ids_at, (size,)) if size else np.empty(0, np.int32)
    tokens = Tokens(ids, offsets, truncated)
    if _checksum(tokens) != checksum:
        raise ValueError("its content does not match its checksum")
    return tokens


def _checksum(tokens: Tokens) -> int:
    return zlib.crc32(tokens.ids.data, zlib.crc32(tokens.offsets.data, zlib.crc32(b"%d" % tokens.truncated)))
