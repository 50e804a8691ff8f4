"""Measures of generated sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.dataset import Floats
from bench.use.generation import Generated


@dataclass(frozen=True)
class GenerationMeasures:
    """Means over the source sentences.

    ``distinct`` is the share of the candidates that differ from all earlier ones, and ``copied`` the share that is the
    source itself, both in percent. ``cosine`` is the mean cosine of the kept sentences to their source by an encoder
    that did not generate them; nan where nothing was kept.
    """

    distinct: float
    copied: float
    cosine: float


def measure(
    generated: Sequence[Generated], keep: int, vectors: Callable[[Sequence[str]], Floats]
) -> GenerationMeasures:
    """The measures of ``generated``, of which the ``keep`` best of each source are kept.

    ``vectors`` gives [n, d] unit vectors of texts.
    """
    distinct = [100 * len(set(one.sampled)) / len(one.sampled) for one in generated]
    copied = [100 * one.sampled.count(one.read) / len(one.sampled) for one in generated]
    cosines = []
    for one in generated:
        if kept := [text for text, _ in one.ranked[:keep]]:
            seen = vectors([one.source, *kept])
            cosines.append(float((seen[1:] @ seen[0]).mean()))
    return GenerationMeasures(
        float(np.mean(distinct)), float(np.mean(copied)), float(np.mean(cosines)) if cosines else float("nan")
    )
