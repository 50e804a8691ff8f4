"""The encoder: any ``transformers`` model, with pooling, an optional projection, and unit length."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import Impossible, UserError
from bench.model import positions
from bench.model.config import EncoderConfig
from bench.model.cpu import attention
from bench.model.head import DROPOUT, Dense, hidden_size, new_projection, width_of
from bench.model.packing import Packed
from bench.model.pooling import pool
from bench.model.precision import current_dtype
from bench.record.serialize import canonical

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bench.model.cuda.attention import Varlen

ROUND = 128  # tokens of a packed batch are a multiple of it
FEW = 16  # the same where less than that is encoded, as for one query
_NO_VECTORS = ("_name_or_path", "architectures", "dtype", "output_hidden_states", "transformers_version", "use_cache")


@dataclass(frozen=True)
class Encoded:
    """The output of an encoder for n texts.

    ``unit`` [n, d] are float32 vectors of length one, and ``raw`` [n, d] the same before normalisation. ``tokens``
    [T, hidden] are the last layer's states of all tokens in the order of ``Packed.ids``, None if not requested.
    ``terms`` [n] are the generation losses of the texts, where a language-model head is trained.
    """

    unit: Tensor
    raw: Tensor
    tokens: Tensor | None = None
    terms: Tensor | None = None

    def part(self, start: int, end: int) -> Encoded:
        """The vectors and terms of the texts from ``start`` up to ``end``."""
        texts = slice(start, end)
        return Encoded(self.unit[texts], self.raw[texts], terms=None if self.terms is None else self.terms[texts])


class Encoder(nn.Module):
    """Turns packed token sequences of queries and passages into vectors.

    ``e = normalize(dropout(W pool(h) + b))`` with the projection, ``normalize(pool(h))`` without it; ``h`` are
    the hidden states. ``projection`` may be any chain of layers (:mod:`bench.model.head`), and ``truncate_dim`` keeps
    the first values of its result. With ``skip_prompt`` the prefix is read but not pooled.

    :func:`bench.model.trial.prepare` decides by trial how texts are laid out. ``packs``: without padding, on a GPU by
    the kernel of ``varlen`` where that serves. ``narrows``: the word embeddings may be looked up outside the model, in
    a smaller table. A model that does not allow the first is padded; one that does not allow the second gets token ids.
    ``splits``: several threads of the CPU may train it at once, for its dropout is all of this package's.
    """

    def __init__(
        self,
        transformer: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EncoderConfig,
        projection: nn.Sequential | None = None,
        truncate_dim: int | None = None,
        skip_prompt: bool = False,
    ) -> None:
        super().__init__()
        self.transformer = _keep_layers(transformer, config.layers)
        self.tokenizer = tokenizer
        self.config = config
        self.pooling = config.pooling or ("lasttoken" if config.causal else "mean")
        if self.pooling == "first_last_mean" and not self.transformer.config.num_hidden_layers:
            raise Impossible("encoder.pooling=first_last_mean, but this model has no layers; use mean")
        self.hidden = hidden_size(transformer)
        self.spare_pooler = self._settle_pooler()
        width = self.hidden * (1 + self.pooling.count("+"))
        if projection is None and config.output_dim is not None:
            projection = new_projection(width, config.output_dim)
        self.projection = projection
        self.dim = width if projection is None else width_of(projection, width)
        own = projection is not None and any(isinstance(layer, nn.Dropout) for layer in projection)
        projected = projection is not None and any(isinstance(layer, Dense) for layer in projection)
        self.dropout = nn.Dropout(DROPOUT if projected and not own else 0.0)
        self.truncate_dim = truncate_dim if truncate_dim is not None and truncate_dim < self.dim else None
        self.dim = self.truncate_dim or self.dim
        self.skip_prompt = skip_prompt
        self.packs, self.narrows, self.splits = False, True, False
        self.varlen: Varlen | None = None
        self._places: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def recipe(self) -> str:
        """Short text that is equal for encoders that make equal vectors of equal weights, tokens and prefixes."""
        layers = [str(layer) for layer in self.projection or ()]
        told = {key: value for key, value in self.transformer.config.to_dict().items() if key not in _NO_VECTORS}
        facts = [self.truncate_dim, self.skip_prompt, self.config.causal, layers, told]
        return f"{self.pooling} {hashlib.sha256(canonical(facts).encode()).hexdigest()[:12]}"

    def followed_by(self, layer: Dense) -> Encoder:
        """This encoder with a further layer before normalisation; the two share all weights."""
        kept = self.truncate_dim
        if kept is not None:  # the values left out stand last
            layer = layer.widened(width_of(self.projection or [], self.hidden * (1 + self.pooling.count("+"))))
        chain = nn.Sequential(*(self.projection or ()), layer)
        config = replace(self.config, layers=None, pooling=self.pooling)
        made = Encoder(self.transformer, self.tokenizer, config, chain, skip_prompt=self.skip_prompt)
        made.config, made.packs, made.narrows, made.splits = self.config, self.packs, self.narrows, self.splits
        made.varlen = self.varlen
        return made.train(self.training)

    def _settle_pooler(self) -> tuple[nn.Module, ...]:
        """Take away the model's own pooler if it is not used: its weights would never train. Returns what was taken."""
        pooler = getattr(self.transformer, "pooler", None)
        if self.pooling not in ("pooler", "pooler_linear"):
            if isinstance(pooler, nn.Module):
                self.transformer.pooler = None
                return (pooler,)
        elif not hasattr(pooler, "dense"):  # ALBERT's is a bare linear layer, without its tanh
            raise Impossible(
                f"encoder.pooling={self.pooling}, but this model has no pooler; use cls, mean or first_last_mean"
            )
        return ()

    @property
    def most_tokens(self) -> int | None:
        """The length of the longest text that the model has positions for; None where they have no end."""
        return positions.most_tokens(self.transformer)

    def check_lengths(self) -> None:
        """Raise :class:`UserError` if a text may be longer than the model has positions for."""
        most = self.most_tokens
        if most is None:
            return
        for name, reading in (("query", self.config.query), ("passage", self.config.passage)):
            if reading.tokens > most:
                setting = f"encoder.max_{name}_tokens={reading.tokens}"
                raise UserError(f"{setting}, but this model has positions for {most} tokens")

    def forward(self, packed: Packed, tokens: bool = False) -> Encoded:
        """The vectors of ``packed`` in the order of the texts given to ``pack``; with ``tokens`` the states, too."""
        hidden = self.states(packed)
        pooled = self._pool(hidden, packed)
        if self.projection is not None:
            pooled = self.projection(pooled)
        if self.truncate_dim is not None:
            pooled = pooled[:, : self.truncate_dim]
        raw = self.dropout(pooled).float()[packed.restore.to(pooled.device)]
        return Encoded(F.normalize(raw, dim=-1), raw, hidden[-1] if tokens else None)

    def states(self, packed: Packed) -> tuple[Tensor, ...]:
        """([T, hidden] of the last layer,) or (first, last) as the pooling needs."""
        return (
            self._packed_states(packed) if self.packs_now(packed.sources is not None) else self._padded_states(packed)
        )

    def packs_now(self, targets: bool = False) -> bool:
        """Whether texts, or those with ``targets``, are laid out without padding in the present mode and autocast."""
        return self.packs and (self.varlen is None or self.varlen.serves(self.device, self.training, targets))

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
        # Batches of a few different sizes: see attention.plan. The rows added belong to no text.
        count = len(packed.ids)
        added = (0, -count % (ROUND if self.training or count > ROUND else FEW))
        places = torch.from_numpy(packed.positions) + self._first_position
        planned: object
        if self.varlen is None:
            planned = attention.plan(packed, self.transformer.config.num_attention_heads)
        else:
            planned = self.varlen.plan(packed, added[1], self.device)
        out = self.transformer(
            inputs_embeds=self._inputs(F.pad(packed.ids, added, value=int(packed.ids[-1])))[None],
            position_ids=F.pad(places, added, value=self._first_position)[None].to(self.device),
            packing=planned,
            output_hidden_states=self.pooling == "first_last_mean",
            **self._segments(F.pad(torch.from_numpy(packed.in_target), added)[None], packed),
        )
        return tuple(state[0, :count] for state in self._needed(out))

    def _padded_states(self, packed: Packed) -> tuple[Tensor, ...]:
        """The same states as :meth:`_packed_states`, computed on a padded batch."""
        longest = int(packed.lengths[-1])
        real = torch.from_numpy(np.arange(longest) < packed.lengths[:, None])
        ids = torch.full(real.shape, int(self.transformer.config.get_text_config().pad_token_id or 0))
        ids[real] = packed.ids
        segments = torch.zeros_like(ids)
        segments[real] = torch.from_numpy(packed.in_target)
        real = real.to(self.device)
        mask = real.long()
        if packed.sources is not None:
            mask = self.additive(torch.from_numpy(packed.seen(0, len(real), longest)))
        out = self.transformer(
            **{"inputs_embeds": self._inputs(ids)} if self.narrows else {"input_ids": ids.to(self.device)},
            attention_mask=mask,
            output_hidden_states=self.pooling == "first_last_mean",
            **self._segments(segments, packed),
        )
        return tuple(state[real] for state in self._needed(out))

    def additive(self, seen: Tensor) -> Tensor:
        """[n, 1, rows, columns] the mask of ``seen`` [n, rows, columns] that a model adds to its attention scores.

        Numbers and not truth values, which some implementations of attention would add as 0 and 1.
        """
        dtype = current_dtype(self.device)
        mask = torch.zeros(seen.shape, dtype=dtype, device=self.device)
        return mask.masked_fill_(~seen.to(self.device), torch.finfo(dtype).min)[:, None]

    def _segments(self, in_target: Tensor, packed: Packed) -> dict[str, Tensor]:
        """The model's argument for segments, where it has them and texts have a target."""
        return {} if packed.sources is None else self.segments(in_target)

    def segments(self, in_target: Tensor) -> dict[str, Tensor]:
        """The argument that tells the tokens of targets (1) from those of sources; none where there are no segments."""
        several = (getattr(self.transformer.config, "type_vocab_size", 0) or 0) > 1
        return {"token_type_ids": in_target.to(self.device)} if several else {}

    @property
    def _first_position(self) -> int:
        return positions.first(self.transformer)

    def _needed(self, out: Any) -> tuple[Tensor, ...]:
        if self.pooling == "first_last_mean":
            return out.hidden_states[1], out.hidden_states[-1]
        return (out.last_hidden_state,)

    def _pool(self, states: tuple[Tensor, ...], packed: Packed) -> Tensor:
        if packed.sources is not None:  # the vector is that of the source
            at = torch.from_numpy(packed.source_tokens).to(states[-1].device)
            states, packed = tuple(state[at] for state in states), packed.without_targets()
        if self.pooling in ("pooler", "pooler_linear"):
            first = pool("cls", states[-1], packed)
            pooler = self.transformer.pooler
            pooled: Tensor = pooler(first[:, None]) if self.pooling == "pooler" else pooler.dense(first)
            return pooled
        if self.pooling == "first_last_mean":
            mean = torch.stack([state.float() for state in states]).mean(0)
            return pool("mean", mean, packed, self.skip_prompt)
        return pool(self.pooling, states[-1], packed, self.skip_prompt)


def _keep_layers(transformer: PreTrainedModel, layers: tuple[int, ...] | None) -> PreTrainedModel:
    """Keep only the named layers of the stack, in the given order. Without any, its states are the token embeddings."""
    if layers is None:
        return transformer
    count = transformer.config.num_hidden_layers
    wrong = [layer for layer in layers if not 0 <= layer < count]
    if len(set(layers)) < len(layers):
        raise UserError(f"encoder.layers={list(layers)} names a layer twice")
    if wrong:
        raise UserError(f"encoder.layers={list(layers)}: this model has layers 0 to {count - 1}")
    kinds = getattr(transformer.config, "layer_types", None)
    if kinds is not None and not layers:  # transformers cannot read its configuration again
        raise UserError(f"encoder.layers=[]: a {transformer.config.model_type} model cannot be without layers")
    for module in transformer.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                setattr(module, name, nn.ModuleList(child[layer] for layer in layers))
                transformer.config.num_hidden_layers = len(layers)
                if kinds is not None:
                    transformer.config.layer_types = [kinds[layer] for layer in layers]
                return transformer
    raise UserError("encoder.layers: the layers of this model were not found; leave it unset")
