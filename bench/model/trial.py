"""Trial passes when an encoder is built: how its texts may be laid out, and whether it can be used at all.

Which architectures pad rightly, take word embeddings from outside, or may be packed is nowhere written. A few short
texts decide it: the states of their tokens must be those of each text alone, whatever the layout.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from bench.errors import UserError
from bench.model.cpu import attention
from bench.model.cpu.dropout import masks_from
from bench.model.cpu.modules import keep_memory, quicken
from bench.model.cuda import attention as varlen
from bench.model.encoder import Encoder
from bench.model.narrowing import rows_of
from bench.model.packing import Packed
from bench.model.precision import autocast

log = logging.getLogger(__name__)

AttentionInterface.register(attention.NAME, attention.packed_attention)
AttentionInterface.register(varlen.NAME, varlen.varlen_attention)
AttentionMaskInterface.register(varlen.NAME, sdpa_mask)  # of padded batches

LENGTHS = (3, 4, 9, 9)
TOLERANCE = 1e-4  # of the states of a token, brought to unit length


def prepare(encoder: Encoder, device: torch.device, kernel: varlen.Kernel | None = None) -> Encoder:
    """Move ``encoder`` to ``device`` and choose the fastest layout that gives correct vectors for its model.

    Texts are packed by ``kernel``, by default that of torch for the device; on a CPU without one by plain products.
    Raises :class:`UserError` for a model that cannot be used: in one line, with its type and the reason; for a causal
    one that was not asked for it is a :class:`CausalModel`. Random state and training mode are left as they are.
    """
    kind, training = encoder.transformer.config.model_type, encoder.training
    encoder.to(device)
    if device.type == "cpu":
        keep_memory()
        quicken(encoder)
    try:
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            _Trial.of(encoder.eval(), kernel or varlen.torch_kernel(device)).settle()
            encoder.splits = _draws_nothing(encoder.train()) and encoder.packs and encoder.varlen is None
    except (UserError, torch.OutOfMemoryError):
        raise
    except _Unfit as error:
        raise UserError(f"encoder={encoder.config.name}: this {kind} model cannot be used: {error}") from error
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "") or "no reason given"
        raise UserError(
            f"encoder={encoder.config.name}: a trial pass of this {kind} model failed ({type(error).__name__}: "
            f"{reason}); use an encoder of another architecture"
        ) from error
    finally:
        encoder.train(training)
    return encoder


def _draws_nothing(encoder: Encoder) -> bool:
    """Whether a pass of training leaves torch's generator alone, which all threads share."""
    before = torch.get_rng_state()
    with masks_from(0):
        encoder(_probe(encoder))
    return torch.equal(before, torch.get_rng_state())


def check_targets(encoder: Encoder) -> None:
    """Raise :class:`UserError` for a model in which a source feels its target, or a target token those after it."""
    if encoder.skip_prompt:
        raise UserError(
            f"encoder={encoder.config.name}: its prompts are left out of the pooling, which training to generate "
            "cannot do; use another encoder"
        )
    training, length, source = encoder.training, LENGTHS[-1], 4
    ids = _probe(encoder).ids[-2 * length :]  # two texts that differ in the last token alone
    both = Packed(ids, np.array([length, length]), torch.arange(2), sources=np.array([source, source]))
    alone = Packed(ids[:source], np.array([source]), torch.zeros(1, dtype=torch.long))
    try:
        with torch.no_grad():
            encoder.eval()
            states = _states(encoder, both)
            one, other = states[:length], states[length:]
            holds = _same(one[:source], _states(encoder, alone)) and _same(one[:-1], other[:-1])
            reason = "a text's vector would depend on what is generated from it"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        holds, reason = False, next(iter(str(error).strip().splitlines()), type(error).__name__)
    finally:
        encoder.train(training)
    if not holds:
        kind = encoder.transformer.config.model_type
        raise UserError(
            f"encoder={encoder.config.name}: this {kind} model cannot be trained to generate ({reason}); use a BERT or "
            "RoFormer encoder"
        )


class CausalModel(UserError):
    """The model's tokens see only those before them, and ``encoder.causal`` does not say so."""


class _Unfit(Exception):
    """Why a model cannot be used, which the trial has shown."""


@dataclass(frozen=True)
class _Trial:
    encoder: Encoder
    kernel: varlen.Kernel | None
    probe: Packed
    plain: Tensor

    @classmethod
    def of(cls, encoder: Encoder, kernel: varlen.Kernel | None) -> _Trial:
        """The trial of an encoder, with the states of its texts the plain way: padded, by token id."""
        _check_table(encoder)
        encoder.packs = encoder.narrows = False
        encoder.varlen = None
        probe = _probe(encoder)
        try:
            plain = _states(encoder, probe)
        except TypeError:
            if not encoder.spare_pooler:
                raise
            pooler = encoder.spare_pooler[0].to(encoder.device).requires_grad_(False)  # called whether used or not
            encoder.transformer.pooler, encoder.spare_pooler = pooler, ()
            plain = _states(encoder, probe)
        return cls(encoder, kernel, probe, plain)

    def settle(self) -> None:
        """Refuse what cannot be used, and choose the layout of the rest."""
        encoder = self.encoder
        if not bool(torch.isfinite(self.plain).all()):
            raise _Unfit("its states are not finite numbers")
        if not self._is_each_text_alone():
            raise _Unfit("the vector of a text depends on the other texts of its batch, even padded")
        self._check_causal()
        encoder.narrows = self._may_be_narrowed()
        possible = encoder.device.type == "cpu" or self.kernel is not None
        encoder.packs = encoder.narrows and possible and self._may_be_packed()
        if not encoder.narrows:
            log.info("this model looks up word embeddings in a way of its own; it trains with its whole table")
        elif possible and not encoder.packs:
            log.info("this model does not support packed texts; they are padded instead")

    def _is_each_text_alone(self) -> bool:
        """Whether the shortest and the longest text have the states alone that they have together, padded."""
        for text in (0, len(LENGTHS) - 1):
            at = slice(self.probe.starts[text], self.probe.starts[text] + LENGTHS[text])
            alone = Packed(self.probe.ids[at], self.probe.lengths[text : text + 1], torch.zeros(1, dtype=torch.long))
            if not _same(_states(self.encoder, alone), self.plain[at]):
                return False
        return True

    def _check_causal(self) -> None:
        """The last two texts differ in the last token alone: does a token before it see that? Without layers, no."""
        first, second = self.probe.starts[-2:] + LENGTHS[-1] - 2
        config, kind = self.encoder.config, self.encoder.transformer.config.model_type
        layers = getattr(self.encoder.transformer.config.get_text_config(), "num_hidden_layers", None)
        causal = layers != 0 and _same(self.plain[first], self.plain[second])
        if causal and not config.causal:
            raise CausalModel(
                f"encoder={config.name}: this {kind} model is causal, its tokens see only those before them; "
                "encoder.causal=true takes it, pooled by its last token unless its directory or encoder.pooling says"
            )
        if config.causal and not causal:
            raise UserError(f"encoder.causal=true, but this {kind} model is not causal; leave encoder.causal out")

    def _may_be_narrowed(self) -> bool:
        """Whether word embeddings from outside, of the whole table and of its rows in use, give the same states."""
        encoder = self.encoder
        encoder.narrows = True
        try:
            table = encoder.word_embeddings
            if not isinstance(table, nn.Embedding) or not _same(_states(encoder, self.probe), self.plain):
                return False
            try:
                encoder.put_word_embeddings(*rows_of(table, torch.unique(self.probe.ids).to(encoder.device)))
                return _same(_states(encoder, self.probe), self.plain)
            finally:
                encoder.put_word_embeddings(table, None)
        except Exception as error:
            log.debug("word embeddings cannot come from outside: %s", error)
            return False

    def _may_be_packed(self) -> bool:
        encoder, transformer = self.encoder, self.encoder.transformer
        if not getattr(transformer, "_supports_attention_backend", False):
            return False
        original = transformer.config._attn_implementation
        encoder.packs = True
        try:
            if self.kernel is None:
                transformer.set_attn_implementation(attention.NAME)
                fits = _same(_states(encoder, self.probe), self.plain)
            else:
                fits = original == "sdpa" and self._fits_kernel(self.kernel)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            log.debug("packing is not possible: %s", error)
            fits = False
        if not fits:
            encoder.varlen = None
            transformer.set_attn_implementation(original)
        return fits

    def _fits_kernel(self, kernel: varlen.Kernel) -> bool:
        """Whether the model may be packed by ``kernel`` in any number format.

        The layout is tried apart from the number format, which may be too coarse to tell a wrong one: in float32 with
        the reference kernel. ``kernel`` itself is compared with that for the shapes of the model's heads, then used.
        """
        encoder, device = self.encoder, self.encoder.device
        encoder.transformer.set_attn_implementation(varlen.NAME)
        with varlen.shapes_seen() as (reference, shapes):
            encoder.varlen = varlen.Varlen(reference, frozenset([torch.float32]), trains=True)
            if not _same(_states(encoder, self.probe), self.plain):
                return False
        try:
            _states(encoder.train(), self.probe)
            trains = True
        except varlen.Dropping:
            trains = False
        finally:
            encoder.eval()
        dtypes = {d for d in varlen.DTYPES if all(varlen.agrees(kernel, *shape, d, device) for shape in shapes)}
        encoder.varlen = varlen.Varlen(kernel, frozenset(dtypes), trains)
        dtypes = {dtype for dtype in dtypes if self._as_near_as_padded(dtype)}
        encoder.varlen = varlen.Varlen(kernel, frozenset(dtypes), trains)
        return bool(dtypes)

    def _as_near_as_padded(self, dtype: torch.dtype) -> bool:
        """Whether packed states in ``dtype`` are at most twice as far from those in float32 as padded ones are."""
        encoder, names, far = self.encoder, {torch.bfloat16: "bf16", torch.float16: "fp16"}, {}
        for packs in (False, True):
            encoder.packs = packs
            with autocast(names.get(dtype, "fp32"), encoder.device):
                far[packs] = float((_states(encoder, self.probe) - self.plain).abs().max())
        return far[True] <= 2 * far[False] + TOLERANCE


def _probe(encoder: Encoder) -> Packed:
    """A few short texts of ordinary tokens; the last two differ in nothing but their last token."""
    rows, config = _table_size(encoder), encoder.transformer.config.get_text_config()
    special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "cls", "sep")}
    ordinary = [i for i in range(min(rows or 64, 64)) if i not in special][4:] or [0]
    ids = np.resize(np.array(ordinary, dtype=np.int64), sum(LENGTHS))
    ids[-LENGTHS[-1] :] = ids[-2 * LENGTHS[-1] : -LENGTHS[-1]]
    ids[-1] = ordinary[0] if ids[-1] != ordinary[0] else ordinary[-1]
    return Packed(torch.from_numpy(ids), np.array(LENGTHS), torch.arange(len(LENGTHS)))


def _states(encoder: Encoder, packed: Packed) -> Tensor:
    """[T, hidden] states of all tokens, brought to unit length, float32."""
    states = encoder.states(packed)
    if states[-1].shape[-1] != encoder.hidden:
        raise _Unfit(f"its states have {states[-1].shape[-1]} values, its configuration says {encoder.hidden}")
    return F.normalize(torch.cat([state.float() for state in states], dim=-1), dim=-1)


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=TOLERANCE)


def _table_size(encoder: Encoder) -> int | None:
    """The number of token ids that the model knows; None where it does not say."""
    try:
        weight = getattr(encoder.transformer.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        weight = None
    return None if weight is None else len(weight)


def _check_table(encoder: Encoder) -> None:
    """Raise for a tokenizer with more tokens than the model has word embeddings; its padding needs none."""
    tokenizer, rows = encoder.tokenizer, _table_size(encoder)
    if tokenizer is None or rows is None:
        return
    most = len(tokenizer) - (tokenizer.pad_token_id == len(tokenizer) - 1)
    if most > rows:
        raise UserError(
            f"encoder={encoder.config.name}: its tokenizer has {len(tokenizer):,} tokens, but its model has word "
            f"embeddings for {rows:,}; the two do not belong together"
        )
