"""The learnt positions of a transformer: where they begin, and how many tokens a text may have."""

from __future__ import annotations

from torch import nn

_NAMES = ("position_embeddings", "wpe", "embed_positions", "position_embedding")


def table(model: nn.Module) -> nn.Embedding | None:
    """The table of learnt positions, if the model has one."""
    tables = (getattr(module, name, None) for module in model.modules() for name in _NAMES)
    return next((found for found in tables if isinstance(found, nn.Embedding)), None)


def first(model: nn.Module) -> int:
    """The first position: RoBERTa's family counts from the padding id on; padded, it does so by itself."""
    found = table(model)
    return 0 if found is None or found.padding_idx is None else found.padding_idx + 1


def most_tokens(model: nn.Module) -> int | None:
    """The length of the longest text that the model has positions for; None where they have no end."""
    found = table(model)
    return None if found is None else found.num_embeddings - int(getattr(found, "offset", first(model)))
