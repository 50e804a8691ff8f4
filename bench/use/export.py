"""Exporting an encoder: a directory that other programs load, checked against the encoder, with a model card."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from bench.atomic import atomic_directory, explain_write_errors
from bench.data.dataset import DataSet
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.files import save
from bench.progress import Task, unwatched
from bench.record.store import RunDirectory
from bench.use import onnx
from bench.use.agreement import Loss, Texts, loss, sample, vectors
from bench.use.card import Training, card, use_onnx, use_sentence_transformers
from bench.use.corpus import data_of
from bench.use.embedder import Embedder, TextEmbedder
from bench.use.onnx_embedder import OnnxEmbedder
from bench.use.weights import run_of, settings_of

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of any value of a unit vector


class Target(StrEnum):
    """What an encoder can be exported to."""

    SENTENCE_TRANSFORMERS = "sentence-transformers"
    ONNX = "onnx"


@dataclass(frozen=True)
class Original:
    """What is exported: an encoder in float32 on the CPU, and the run that trained it, with its data if it is there."""

    name: str
    embedder: Embedder
    run: RunDirectory | None = None
    data: DataSet | None = None

    @classmethod
    def load(cls, name: str, runs_dir: Path) -> Original:
        """Raises :class:`UserError` for what names no encoder."""
        run = run_of(name, runs_dir)
        embedder = Embedder.load(settings_of(run or name, runs_dir), "cpu", "fp32")
        if run is None:
            return cls(name, embedder)
        try:
            data = data_of(run.read_record())
        except UserError as error:
            log.info("the export is checked on built-in texts alone: %s", error)
            data = None
        return cls(run.run_id, embedder, run, data)


def check(to: Target, int8: bool) -> None:
    """Raise :class:`UserError`, before anything is loaded, for options and packages that do not fit the target."""
    if int8 and to is not Target.ONNX:
        raise UserError("--int8 is of --to onnx; Sentence Transformers loads float32 weights")
    if to is Target.ONNX:
        onnx.require()


def export(original: Original, to: Target, out: Path, int8: bool = False, task: Task = unwatched) -> None:
    """Write the export into ``out``, which appears whole or not at all.

    ``int8`` is for ONNX alone; what it loses is in the card. Raises :class:`UserError` when ``out`` holds anything,
    when the target cannot have this encoder, and when vectors differ from the encoder's by more than ``TOLERANCE``.
    """
    texts = sample(original.data)
    with atomic_directory(out) as part, explain_write_errors(out):
        if to is Target.ONNX:
            text = _to_onnx(original, part, int8, texts, task)
        else:
            text = _to_sentence_transformers(original, part, texts, task)
        (part / "README.md").write_text(text, encoding="utf-8")
        _readable(part)


def _to_sentence_transformers(original: Original, part: Path, texts: Texts, task: Task) -> str:
    """Write the directory; its card."""
    encoder = original.embedder.encoder
    with task("writing", None):
        save(encoder, part)
    config = encoder.config
    own = EncoderConfig(str(part), causal=config.causal, trust_remote_code=config.trust_remote_code)
    told = _checked(original.embedder, Embedder.load(own, "cpu", "fp32"), texts, task)
    use = use_sentence_transformers(encoder)
    return card(original.name, encoder, use, "sentence-transformers", [told], _training(original))


def _to_onnx(original: Original, part: Path, int8: bool, texts: Texts, task: Task) -> str:
    """Write the model and what belongs to it; its card."""
    encoder = original.embedder.encoder
    with task("writing the ONNX model", None):
        about = onnx.write(encoder.eval(), part)
    checks = [_checked(original.embedder, OnnxEmbedder.load(part), texts, task)]
    if int8:
        with task("quantising", None):
            onnx.quantise(part)
        about = replace(about, int8=True)
        about.write(part)
        split = "" if original.run is None else original.run.read_record().split
        lost = loss(original.embedder, OnnxEmbedder.load(part), texts, original.data, split, task)
        checks = [f"Before its weights were quantised: {checks[0][0].lower()}{checks[0][1:]}", *_told(lost)]
    return card(original.name, encoder, use_onnx(about), "onnx", checks, _training(original))


def _checked(before: Embedder, after: TextEmbedder, texts: Texts, task: Task) -> str:
    """A sentence with the largest difference of vectors. Raises :class:`UserError` for one that is too large."""
    with task("checking", None):
        difference = float(np.abs(vectors(before, texts) - vectors(after, texts)).max())
    if not difference <= TOLERANCE:  # nan, too
        raise UserError(
            f"the export differs from the encoder: values of unit vectors by up to {difference:.1e}, where "
            f"{TOLERANCE:.0e} is allowed; nothing was written"
        )
    count = sum(map(len, texts.values()))
    return f"On {count} texts, no value of a vector differs from the encoder's by more than {difference:.1e} (float32)."


def _told(lost: Loss) -> list[str]:
    """What the card says of a quantised model."""
    lines = [
        f"The weights of the transformer and its word embeddings have eight bits. Cosine of the vectors with the "
        f"encoder's, on {lost.texts} texts: {lost.mean:.4f} in the mean, {lost.lowest:.4f} at the lowest."
    ]
    if lost.recall is not None and lost.search is not None:
        before, after = lost.recall
        of = lost.search
        lines.append(
            f"Exact Recall@{of.depth} of the first {of.queries:,} {of.split} queries over {of.passages:,} of "
            f"{of.corpus:,} passages (the relevant ones, then the first others): {before:.2f} percent by the encoder, "
            f"{after:.2f} by this model."
        )
    return lines


def _training(original: Original) -> Training | None:
    return None if original.run is None else Training.of(original.run)


def _readable(part: Path) -> None:
    """Everybody may read what was written; some libraries write for the owner alone."""
    for path in (part, *part.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
