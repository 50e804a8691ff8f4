"""The language-model head: generating a target from the states of its tokens, with the word embeddings as output."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError
from bench.model.encoder import Encoder
from bench.model.packing import Packed

FILE = "language_model.safetensors"


class LanguageModelHead(nn.Module):
    """Logits over the whole vocabulary: ``LayerNorm(GELU(W h + b)) E^T + c`` of states ``h``, as BERT's head has them.

    ``E`` are the encoder's word embeddings, which this module does not own.
    """

    def __init__(self, hidden: int, width: int, vocabulary: int, seed: int = 0) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.dense.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.dense.bias)

    @classmethod
    def of(cls, encoder: Encoder, seed: int) -> LanguageModelHead:
        """An untrained head of the sizes that ``encoder`` has. Raises :class:`UserError` where it has no word table."""
        table = encoder.word_embeddings
        if not isinstance(table, nn.Embedding):
            kind = encoder.transformer.config.model_type
            raise UserError(f"encoder={encoder.config.name}: this {kind} model has no plain table of word embeddings")
        return cls(encoder.hidden, table.embedding_dim, table.num_embeddings, seed).to(encoder.device)

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """[T, vocabulary] logits of the next token from ``states`` [T, hidden] and word embeddings ``words``."""
        transformed: Tensor = self.norm(F.gelu(self.dense(states)))
        return F.linear(transformed, words, self.bias)


def generation_terms(head: LanguageModelHead, encoder: Encoder, states: Tensor, packed: Packed) -> Tensor:
    """[n] the sum of every text's next-token cross-entropies over its target, in the caller's order.

    A target token is predicted from the state of the token before it; the first one from the source's last.
    """
    target = packed.in_target.nonzero()[0]
    at, text = torch.from_numpy(target).to(states.device), torch.from_numpy(packed.text_of_token[target])
    logits = head(states[at - 1], encoder.word_embeddings.weight)
    entropy = F.cross_entropy(logits.float(), packed.ids.to(states.device)[at], reduction="none")
    total = torch.zeros(len(packed.lengths), device=states.device).index_add(0, text.to(states.device), entropy)
    return total[packed.restore.to(states.device)]


def head_folder(model: Path) -> Path:
    """Where the head of the encoder in ``model`` is: in the folder ``head`` beside it."""
    return model.resolve().parent / "head"


def save_head(head: LanguageModelHead, folder: Path) -> None:
    """Write the head into ``folder``, whole or not at all. Raises :class:`UserError` when the disk refuses."""
    state = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / FILE, save(state))


def load_head(folder: Path, encoder: Encoder) -> LanguageModelHead | None:
    """The head in ``folder``; None where there is none. Raises :class:`UserError` for one of other sizes."""
    path = folder / FILE
    if not path.is_file():
        return None
    head = LanguageModelHead.of(encoder, seed=0)
    try:
        head.load_state_dict(load_file(path))
    except Exception as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{path}: not a language-model head of the encoder beside it ({reason})") from error
    return head
