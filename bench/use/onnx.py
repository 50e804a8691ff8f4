"""An encoder as an ONNX model: token ids and their mask in, unit vectors out."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UserError, install
from bench.model.encoder import Encoder
from bench.use.onnx_embedder import INPUTS, MODEL, OUTPUT, About

OPSET = 20
LARGEST = 2**31 - 2**20  # bytes of weights in the model's own file; a protocol buffer ends at 2 GiB
NEEDED = ("onnx", "onnxscript", "onnxruntime")


class Padded(nn.Module):
    """The encoder on a padded batch, as operations that ONNX has: the vectors are those of :class:`Encoder`.

    Padding stands on the right. Raises :class:`UserError` for an encoder that does not pool its prefixes, since the
    number of their tokens is not in the mask.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        config = encoder.config
        if encoder.skip_prompt and (config.query.prefix or config.passage.prefix):
            raise UserError(
                "this encoder leaves its prefixes out of the pooling, which an ONNX model here cannot do; "
                "use --to sentence-transformers"
            )
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[n, d] float32 from two int64 arrays [n, length]; the mask is 1 for tokens and 0 for padding."""
        encoder = self.encoder
        given = {"input_ids": input_ids}
        if encoder.narrows:  # as the encoder computes it
            given = {"inputs_embeds": encoder.word_embeddings(input_ids)}
        both = encoder.pooling == "first_last_mean"
        out = encoder.transformer(**given, attention_mask=attention_mask, output_hidden_states=both)
        states = (out.hidden_states[1] + out.hidden_states[-1]) / 2 if both else out.last_hidden_state
        pooled = self._pool(states.float(), attention_mask)
        if encoder.projection is not None:
            pooled = encoder.projection(pooled)
        if encoder.truncate_dim is not None:
            pooled = pooled[:, : encoder.truncate_dim]
        return F.normalize(pooled.float(), dim=-1)

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """[n, hidden * parts] of the states [n, length, hidden]."""
        pooling, pooler = self.encoder.pooling, getattr(self.encoder.transformer, "pooler", None)
        if pooling == "pooler":
            pooled: Tensor = pooler(states[:, :1])  # type: ignore[misc]
            return pooled
        if pooling == "pooler_linear":
            linear: Tensor = pooler.dense(states[:, 0])  # type: ignore[union-attr]
            return linear
        parts = ["mean"] if pooling == "first_last_mean" else pooling.split("+")
        return torch.cat([_pool(part, states, mask) for part in parts], dim=-1)


def _pool(name: str, states: Tensor, mask: Tensor) -> Tensor:
    """[n, hidden] by one of the poolings that may be joined (:mod:`bench.model.pooling`)."""
    if name == "cls":
        return states[:, 0]
    real = mask[:, :, None].to(states.dtype)
    count = real.sum(1)
    if name == "lasttoken":
        last = (count.long() - 1)[:, :, None].expand(-1, 1, states.shape[-1])
        return states.gather(1, last)[:, 0]
    if name == "max":
        return states.masked_fill(real == 0, -torch.inf).amax(1)
    if name == "weightedmean":
        real = real * real.cumsum(1)
        count = real.sum(1)
    return (states * real).sum(1) / (count.sqrt() if name == "mean_sqrt_len_tokens" else count)


def require() -> None:
    """Raise :class:`UserError` unless the packages that an export needs are installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"an export to ONNX needs {', '.join(missing)}; {install('onnx')} brings what is missing")


def write(encoder: Encoder, directory: Path) -> About:
    """Write the model, its tokenizer and what is to be known of it into ``directory``.

    Number and length of texts are free. The weights stand in the model's file, or beside it above 2 GB. Raises
    :class:`UserError` for an encoder that cannot be written.
    """
    model = Padded(encoder).eval()
    ids = torch.arange(14).reshape(2, 7) % 5
    mask = (torch.arange(7) < torch.tensor([[4], [7]])).long()
    free = {0: "batch", 1: "length"}
    size = sum(value.numel() * value.element_size() for value in encoder.state_dict().values())
    try:
        with torch.no_grad(), _plain_attention(encoder), _silence():
            program = torch.onnx.export(
                model,
                (ids, mask),
                input_names=INPUTS,
                output_names=[OUTPUT],
                dynamic_shapes=(free, free),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(directory / MODEL, external_data=size > LARGEST)
    except OSError:
        raise
    except Exception as error:
        kind = encoder.transformer.config.model_type
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"this {kind} model cannot be written as ONNX ({reason}); use --to sentence-transformers"
        ) from error
    encoder.tokenizer.save_pretrained(directory)
    padding = int(encoder.transformer.config.get_text_config().pad_token_id or 0)
    about = About(encoder.config.query, encoder.config.passage, encoder.dim, padding, OPSET)
    about.write(directory)
    return about


def quantise(directory: Path) -> None:
    """Store the transformer's weights in ``directory`` in eight bits, and compute its products in them.

    Word embeddings and matrix products are quantised. What follows the pooling stays in float32: whitening would
    magnify the rounding.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    place = directory / MODEL
    model = onnx.load(place)
    del model.graph.value_info[:]  # shapes that quantisation would have to keep true
    head = [node.name for node in model.graph.node if _is_of_head(node)]
    with _silence():
        (directory / f"{MODEL}.data").unlink(missing_ok=True)  # it is in memory
        quantize_dynamic(
            model,
            place,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_exclude=[*head, *(f"{name}_MatMul" for name in head)],  # the second is what a Gemm becomes
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def _is_of_head(node: Any) -> bool:
    """Whether a node of the graph is of the pooler or of a layer behind the pooling, by the modules it comes from."""
    modules = " ".join(entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes")
    return "'encoder.projection" in modules or "'encoder.transformer.pooler" in modules


@contextlib.contextmanager
def _plain_attention(encoder: Encoder) -> Iterator[None]:
    """Attention as matrix products and a softmax, which every version of ONNX has."""
    transformer = encoder.transformer
    before = transformer.config._attn_implementation
    transformer.set_attn_implementation("eager")
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep back what the exporter tells its own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
