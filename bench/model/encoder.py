"""The encoder: any ``transformers`` model, with pooling, an optional projection, and unit length."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel, PreTrainedTokenizerBase

from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.cpu import attention
from bench.model.cpu.modules import keep_memory, quicken
from bench.model.packing import Packed

log = logging.getLogger(__name__)

AttentionInterface.register(attention.NAME, attention.packed_attention)

ROUND = 128  # tokens of a packed batch are a multiple of it
PROJECTION_DROPOUT = 0.1  # PaddleNLP neural_search base_model.py


@dataclass(frozen=True)
class Encoded:
    """The output of an encoder for n texts.

    ``unit`` [n, d] are float32 vectors of length one, and ``raw`` [n, d] the same before normalisation. ``tokens``
    [T, hidden] are the last layer's states of all tokens in the order of ``Packed.ids``, None if not requested.
    """

    unit: Tensor
    raw: Tensor
    tokens: Tensor | None = None


class Encoder(nn.Module):
    """Turns packed token sequences of queries and passages into vectors.

    ``e = normalize(dropout(W pool(h) + b))`` with the projection, ``normalize(pool(h))`` without it; ``h`` are
    the hidden states. On a CPU, texts are packed without padding if a check on building the model shows that
    this gives the same vectors. Otherwise, and on a GPU, they are padded.
    """

    def __init__(
        self,
        transformer: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EncoderConfig,
        projection: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.transformer = _keep_layers(transformer, config.layers)
        self.tokenizer = tokenizer
        self.config = config
        self.pooling = config.pooling or "mean"
        self._settle_pooler()
        if projection is None and config.output_dim is not None:
            projection = nn.Linear(transformer.config.hidden_size, config.output_dim)
            nn.init.trunc_normal_(projection.weight, std=0.02, a=-0.04, b=0.04)  # bounds are absolute
            nn.init.zeros_(projection.bias)
        self.projection = projection
        self.dropout = nn.Dropout(PROJECTION_DROPOUT if projection is not None else 0.0)
        self.packs = False
        self._places: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        hidden: int = self.transformer.config.hidden_size
        return hidden if self.projection is None else self.projection.out_features

    def _settle_pooler(self) -> None:
        """Keep the model's own pooler only if it is used; otherwise its weights would never train."""
        pooler = getattr(self.transformer, "pooler", None)
        if self.pooling != "pooler":
            if pooler is not None:
                self.transformer.pooler = None
        elif not hasattr(pooler, "dense"):  # ALBERT's is a bare linear layer, without its tanh
            raise UserError("encoder.pooling=pooler, but this model has no pooler; use cls, mean or first_last_mean")

    def check_lengths(self) -> None:
        """Raise :class:`UserError` if a text may be longer than the model has positions for."""
        table = self._positions()
        if table is None:
            return
        most = table.num_embeddings - self._first_position
        for name in ("max_query_tokens", "max_passage_tokens"):
            wanted = getattr(self.config, name)
            if wanted > most:
                raise UserError(f"encoder.{name}={wanted}, but this model has positions for {most} tokens")

    def prepare(self, device: torch.device) -> Encoder:
        """Move to ``device`` and choose the fastest layout that gives correct vectors for this model."""
        self.to(device)
        if device.type == "cpu":
            keep_memory()
            quicken(self)
            self.packs = self._packing_is_exact()
            if not self.packs:
                log.info("this model does not support packed texts; they are padded instead")
        return self

    def forward(self, packed: Packed, tokens: bool = False) -> Encoded:
        """The vectors of ``packed`` in the order of the texts given to ``pack``; with ``tokens`` the states, too."""
        hidden = self._packed_states(packed) if self.packs else self._padded_states(packed)
        pooled = self._pool(hidden, packed)
        if self.projection is not None:
            pooled = self.projection(pooled)
        raw = self.dropout(pooled).float()[packed.restore.to(pooled.device)]
        return Encoded(F.normalize(raw, dim=-1), raw, hidden[-1] if tokens else None)

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The current table of word embeddings; during training it is narrowed."""
        table: nn.Embedding = self.transformer.get_input_embeddings()
        return table

    def put_word_embeddings(self, table: nn.Embedding, places: Tensor | None) -> None:
        """Use ``table``; ``places`` [vocabulary] maps token ids to its rows (None: each id to its own row)."""
        self.transformer.set_input_embeddings(table)
        self._places = places

    def _inputs(self, ids: Tensor) -> Tensor:
        """Word embeddings of token ids, from the narrowed table if there is one."""
        ids = ids.to(self.device)
        if self._places is not None:
            ids = self._places[ids]
        embeddings: Tensor = self.word_embeddings(ids)
        return embeddings

    def _packed_states(self, packed: Packed) -> tuple[Tensor, ...]:
        """([T, hidden] of the last layer,) or (first, last) as the pooling needs."""
        # Batches of a few different sizes: see attention.plan. The rows added belong to no text.
        count = len(packed.ids)
        added = (0, -count % ROUND)
        positions = torch.from_numpy(packed.positions) + self._first_position
        out = self.transformer(
            inputs_embeds=self._inputs(F.pad(packed.ids, added, value=int(packed.ids[-1])))[None],
            position_ids=F.pad(positions, added, value=self._first_position)[None],
            packing=attention.plan(packed, self.transformer.config.num_attention_heads),
            output_hidden_states=self.pooling == "first_last_mean",
        )
        return tuple(state[0, :count] for state in self._needed(out))

    def _padded_states(self, packed: Packed) -> tuple[Tensor, ...]:
        """The same states as :meth:`_packed_states`, computed on a padded batch."""
        longest = int(packed.lengths[-1])
        real = torch.from_numpy(np.arange(longest) < packed.lengths[:, None])
        ids = torch.full(real.shape, int(self.transformer.config.pad_token_id or 0))
        ids[real] = packed.ids
        real = real.to(self.device)
        out = self.transformer(
            inputs_embeds=self._inputs(ids),
            attention_mask=real.long(),
            output_hidden_states=self.pooling == "first_last_mean",
        )
        return tuple(state[real] for state in self._needed(out))

    def _positions(self) -> nn.Embedding | None:
        """The table of learnt positions, if the model has one."""
        tables = (getattr(module, "position_embeddings", None) for module in self.transformer.modules())
        return next((table for table in tables if isinstance(table, nn.Embedding)), None)

    @property
    def _first_position(self) -> int:
        """RoBERTa's family counts positions from the padding id on; padded, it does so by itself."""
        table = self._positions()
        return 0 if table is None or table.padding_idx is None else table.padding_idx + 1

    def _needed(self, out: Any) -> tuple[Tensor, ...]:
        if self.pooling == "first_last_mean":
            return out.hidden_states[1], out.hidden_states[-1]
        return (out.last_hidden_state,)

    def _pool(self, states: tuple[Tensor, ...], packed: Packed) -> Tensor:
        """[n, hidden] one vector a text, from states [T, hidden]."""
        last = states[-1]
        if self.pooling in ("cls", "pooler"):
            first = last[torch.from_numpy(packed.starts).to(last.device)]
            return first if self.pooling == "cls" else self.transformer.pooler(first[:, None])
        text = torch.from_numpy(packed.text_of_token).to(last.device)
        count = torch.from_numpy(packed.lengths).to(last.device)[:, None]
        mean = torch.stack([state.float() for state in states]).mean(0)
        total = torch.zeros(len(packed.lengths), last.shape[1], device=last.device)
        return total.index_add(0, text, mean) / count

    @torch.no_grad()
    def _packing_is_exact(self) -> bool:
        """True when a few texts of different lengths get the same vectors packed as padded."""
        if not getattr(self.transformer, "_supports_attention_backend", False):
            return False
        original = self.transformer.config._attn_implementation
        vocabulary = self.word_embeddings.num_embeddings
        lengths = np.array([3, 4, 9, 9])
        ids = torch.arange(int(lengths.sum())) % max(1, vocabulary - 5) + 4
        probe = Packed(ids.clamp(max=vocabulary - 1), lengths, torch.arange(len(lengths)))
        training = self.training
        self.eval()
        try:
            padded = self._pool(self._padded_states(probe), probe)
            self.transformer.set_attn_implementation(attention.NAME)
            packed = self._pool(self._packed_states(probe), probe)
            same = torch.allclose(F.normalize(padded), F.normalize(packed), atol=1e-4)
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            log.debug("packing is not possible: %s", error)
            same = False
        finally:
            self.train(training)
        if not same:
            self.transformer.set_attn_implementation(original)
        return same


def _keep_layers(transformer: PreTrainedModel, layers: tuple[int, ...] | None) -> PreTrainedModel:
    """Keep only the named layers of the stack, in the given order."""
    if layers is None:
        return transformer
    count = transformer.config.num_hidden_layers
    wrong = [layer for layer in layers if not 0 <= layer < count]
    if len(set(layers)) < len(layers):
        raise UserError(f"encoder.layers={list(layers)} names a layer twice")
    if wrong or not layers:
        raise UserError(f"encoder.layers={list(layers)}: this model has layers 0 to {count - 1}")
    for module in transformer.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                setattr(module, name, nn.ModuleList(child[layer] for layer in layers))
                transformer.config.num_hidden_layers = len(layers)
                kinds = getattr(transformer.config, "layer_types", None)
                if kinds is not None:
                    transformer.config.layer_types = [kinds[layer] for layer in layers]
                return transformer
    raise UserError("encoder.layers: the layers of this model were not found; leave it unset")
