"""Embedding texts with an encoder that was exported as an ONNX model: neither PyTorch nor the run is needed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.dataset import Floats
from bench.data.tokens import Tokens, tokenize
from bench.errors import UserError, install
from bench.model.config import Reading
from bench.use.texts import refuse_empty

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL, ABOUT = "model.onnx", "negbench.json"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "sentence_embedding"
TOKENS_AT_ONCE = 1 << 11


@dataclass(frozen=True)
class About:
    """What is to be known of the model beside it: ``negbench.json``.

    ``query`` and ``passage`` are how texts of the two roles are read, ``dim`` the size of a vector, ``padding`` the
    token id that fills short texts up, ``opset`` the version of ONNX's operators, and ``int8`` whether the weights of
    the transformer have eight bits.
    """

    query: Reading
    passage: Reading
    dim: int
    padding: int
    opset: int
    int8: bool = False

    @classmethod
    def read(cls, directory: Path) -> About:
        """Raises :class:`UserError` for a directory that is no export."""
        path = directory / ABOUT
        if not directory.is_dir():
            raise UserError(f"{directory}: there is no such directory; make one with `bench export RUN --to onnx`")
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            query, passage = (Reading(**told.pop(role)) for role in ("query", "passage"))
            return cls(query, passage, **told)
        except FileNotFoundError:
            raise UserError(
                f"{directory} is no export to ONNX: {ABOUT} is missing; make one with `bench export --to onnx`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({error}); export the encoder again") from error

    def write(self, directory: Path) -> None:
        (directory / ABOUT).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def reading(self, role: str | None) -> Reading:
        """How texts of a role are read; without one, the longest of both lengths and no prefix."""
        if role is None:
            return Reading(max(self.query.tokens, self.passage.tokens), "")
        return {"query": self.query, "passage": self.passage}[role]


@dataclass(frozen=True)
class OnnxEmbedder:
    """An ONNX model in a session of onnxruntime, its tokenizer, and how it reads texts.

    It embeds as :class:`bench.use.embedder.Embedder` does.
    """

    session: Any
    tokenizer: PreTrainedTokenizerBase
    about: About

    @classmethod
    def load(cls, directory: Path) -> OnnxEmbedder:
        """The model in ``directory``, on the CPU, with as many threads as ``OMP_NUM_THREADS`` says.

        Raises :class:`UserError` for a directory that is no export, or a damaged one, and without onnxruntime.
        """
        about = About.read(directory)
        runtime = _runtime()
        from transformers import PreTrainedTokenizerFast

        options = runtime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.log_severity_level = 3  # errors
        try:
            session = runtime.InferenceSession(directory / MODEL, options, providers=["CPUExecutionProvider"])
            tokenizer = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"{directory}: this export cannot be loaded: {reason}") from error
        return cls(session, tokenizer, about)

    @property
    def dim(self) -> int:
        return self.about.dim

    def tokens(self, texts: Sequence[str], role: str | None = None) -> Tokens:
        """The texts as tokens, with prefix and length of ``query`` or ``passage``; without a role, no prefix."""
        reading = self.about.reading(role)
        return tokenize(list(texts), self.tokenizer, reading.tokens, reading.prefix)

    def vectors(
        self,
        texts: Sequence[str],
        role: str | None = None,
        progress: Callable[[int], None] | None = None,
        raw: bool = False,
    ) -> Floats:
        """[n, d] unit vectors of the texts, in their order. ``progress`` gets the number of texts of each batch.

        Texts of similar length are computed together, and equal texts have equal vectors. A model with weights of eight
        bits rounds the values of a batch by the largest of them, so there the vector of a text depends a little on its
        batch. Raises :class:`UserError` for an empty text, and for ``raw``: the model ends with normalisation.
        """
        refuse_empty(texts, "texts")
        if raw:
            raise UserError("an export to ONNX has vectors of unit length only")
        tokens = self.tokens(texts, role)
        rows, place = tokens.distinct(np.arange(len(texts)))
        times = np.bincount(place, minlength=len(rows))
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        for chunk in tokens.batches(rows, TOKENS_AT_ONCE):
            vectors[chunk] = self._computed(tokens, rows[chunk])
            if progress is not None:
                progress(int(times[chunk].sum()))
        return np.asarray(vectors[place])

    def _computed(self, tokens: Tokens, rows: np.ndarray) -> Floats:
        """[len(rows), d] the vectors of one padded batch."""
        lengths = tokens.lengths[rows]
        real = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(real.shape, self.about.padding, dtype=np.int64)
        ids[real] = tokens.take(rows)
        found: Floats = self.session.run([OUTPUT], dict(zip(INPUTS, (ids, real.astype(np.int64)), strict=True)))[0]
        return found


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX models need onnxruntime; {install('onnx')} brings it") from error
    return onnxruntime


def _threads() -> int:
    """``OMP_NUM_THREADS``, which onnxruntime does not read itself; 0 leaves the number to it."""
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdigit() else 0
