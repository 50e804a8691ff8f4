"""Noise on sources: whole words masked, as BERT masks tokens for its pre-training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from bench.data.dataset import Ids
from bench.data.tokens import TokenIds
from bench.errors import UserError

SHARE = 0.15  # of the words; Devlin et al. 2019, as the next two
MASKED, KEPT = 0.8, 0.1  # of the chosen words; the rest becomes random tokens
_STARTS = ("▁", "Ġ")  # mark the first piece of a word in SentencePiece and byte-level vocabularies


@dataclass(frozen=True)
class WordMask:
    """Masks whole words: ``continues`` [vocabulary] marks the pieces that belong to the word before them.

    ``mask`` is the id of the mask token, ``ordinary`` are the ids that stand for text, ``special`` [vocabulary] marks
    the others, which are never changed.
    """

    mask: int
    ordinary: Ids
    special: NDArray[np.bool_]
    continues: NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> WordMask:
        """The noise for a tokenizer. Raises :class:`UserError` where it has no mask token.

        Where the tokenizer does not say which pieces make a word, every token is one.
        """
        if tokenizer.mask_token_id is None:
            raise UserError("noise masks words, but the encoder's tokenizer has no mask token; set noise=0")
        pieces: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        special = np.zeros(len(pieces), dtype=np.bool_)
        special[tokenizer.all_special_ids] = True
        prefix = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
        if prefix:
            continues = np.array([piece.startswith(prefix) for piece in pieces])
        else:
            begins = np.array([piece.startswith(_STARTS) for piece in pieces])
            continues = ~begins if begins.any() else np.zeros_like(special)
        return cls(int(tokenizer.mask_token_id), np.flatnonzero(~special), special, continues & ~special)

    def masked(self, text: TokenIds, rng: np.random.Generator) -> TokenIds:
        """The tokens of a text with some words masked, replaced by random tokens, or kept although chosen."""
        word = np.cumsum(~self.continues[text])
        chosen, fate = (rng.random(int(word[-1]) + 1) for _ in range(2))
        random = rng.choice(self.ordinary, len(text))
        changed = (chosen[word] < SHARE) & ~self.special[text]
        result = np.where(changed & (fate[word] < MASKED), self.mask, text)
        result = np.where(changed & (fate[word] >= MASKED + KEPT), random, result)
        return result.astype(text.dtype)
