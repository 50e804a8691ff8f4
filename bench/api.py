"""The program from Python: settings, runs, records as a table, comparisons, embeddings. See docs/api.md.

Whatever a person can mend raises :class:`bench.errors.UserError`, whose message says what and how.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError, choice, message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bench.compare.comparison import Comparison
    from bench.config.run import RunConfig
    from bench.model.config import EncoderConfig
    from bench.record.record import Record
    from bench.run.lifecycle import Outcome

Settings = Mapping[str, object] | Sequence[str]
"""Settings as ``{"strategy": "mnr", "train.lr": 1e-4}``, or as the command line has them: ``["strategy=mnr"]``."""

ROLES = ("query", "passage")


@contextmanager
def _explained() -> Iterator[None]:
    """Raise an error of the operating system as the :class:`UserError` that the command line would print."""
    try:
        yield
    except OSError as error:
        raise UserError(message(error)) from error


@_explained()
def resolve(settings: Settings = ()) -> RunConfig:
    """The whole configuration of the one run that ``settings`` ask for.

    Raises :class:`UserError` naming the key, the value and what would fit; a sweep over several values is one, too.
    """
    from bench.config.overrides import resolve

    return resolve(_single(settings))


@_explained()
def run(settings: Settings = (), *, force: bool = False) -> Outcome:
    """Train and evaluate one run as ``bench run`` does: resumed where it was killed, skipped where it is finished.

    The outcome has ``record`` (metrics in percent, costs, the configuration), ``path`` (its directory, with the
    weights under ``model/``) and ``skipped``. With ``force`` a finished run is done again. Raises :class:`UserError`.
    """
    from bench.config.overrides import command_line, resolve
    from bench.run.lifecycle import run

    words = _single(settings)
    return run(resolve(words), command_line(words), force=force)


@_explained()
def load_records(directory: str | Path, words: Sequence[str] = ()) -> pd.DataFrame:
    """The finished runs of a runs directory or of packed records, a row each.

    Columns are ``strategy``, ``seed``, ``data``, ``encoder``, ``split``, ``status``, ``run_id``, ``invalid`` (the
    reason, or None), every metric (percent), ``cost/NAME`` (seconds, MB, counts, as the record has them) and
    ``strategy.KNOB``; what a run does not have is missing. ``words`` choose runs as those of ``bench compare`` do.
    Trials of studies' searches are left out; records that cannot be read are left out with a warning. Raises
    :class:`UserError` for a directory that is not there and for words that fit no record.
    """
    import pandas as pd

    rows = [
        {
            "strategy": record.strategy,
            "seed": record.seed,
            "data": record.data["name"],
            "encoder": record.encoder.get("name"),
            "split": record.split,
            "status": record.status,
            "run_id": record.run_id,
            "invalid": record.invalid,
            **record.metrics,
            **{f"cost/{name}": value for name, value in record.cost.items()},
            **{f"strategy.{name}": value for name, value in record.knobs.items()},
        }
        for record in _records(directory, words)
    ]
    kinds = (("strategy.", 2), ("cost/", 1))
    named = dict.fromkeys(name for row in rows for name in row)
    order = sorted(named, key=lambda name: next((place for start, place in kinds if name.startswith(start)), 0))
    return pd.DataFrame(rows, columns=order)


@_explained()
def compare(
    directory: str | Path, words: Sequence[str] = (), metric: str | None = None, allow: Sequence[str] = ()
) -> Comparison:
    """Compare the finished runs of a directory or of packed records, as ``bench compare`` does.

    ``words`` choose runs (``["data=medquad", "strategy=in_batch,mnr"]``), ``metric`` is by default the evaluation's
    headline, ``allow`` names what may differ: ``data``, ``encoder``, ``evaluation``, ``budget``. The comparison has
    ``rows`` by falling metric with 95 % CI, the tested ``pairs``, and ``best``, the place of the row that
    is significantly better than every other, or None. Raises :class:`UserError` for runs that cannot be compared.
    """
    from bench.compare.comparability import ASPECTS
    from bench.compare.comparison import compare
    from bench.compare.per_query import of_runs

    if isinstance(allow, str):
        raise UserError(f"allow is a list of names; write [{allow!r}]")
    for name in allow:
        choice("allow", name, ASPECTS)
    return compare(_records(directory, words), of_runs(Path(directory)), metric, allow)


@_explained()
def embed(
    texts: Sequence[str],
    encoder: str | Path | EncoderConfig,
    role: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> NDArray[np.float32]:
    """Unit vectors [n, d] of ``texts``, float32, whose inner products are cosines.

    ``encoder`` is a run's directory or its ``model/``, any encoder's directory, a preset (``minilm``) or a hub id, or
    an :class:`bench.model.config.EncoderConfig`. ``role`` is ``query`` or ``passage`` and puts the encoder's prefix
    before the texts: that of the run's configuration, or the prompt of a Sentence Transformers directory; without a
    role there is no prefix. Longer texts are cut to the encoder's length for the role. Raises :class:`UserError` for
    an encoder that cannot be found, and for texts that are not a list of strings.
    """
    from bench.use.embedder import Embedder
    from bench.use.weights import settings_of

    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise UserError("texts must be a list of strings")
    if role is not None:
        choice("role", role, ROLES)
    return Embedder.load(settings_of(encoder), device, precision, texts).vectors(texts, role)


def _single(settings: Settings) -> tuple[str, ...]:
    """The words of one run. Raises :class:`UserError` for a sweep."""
    from bench.config.overrides import expand

    if isinstance(settings, str) or not isinstance(settings, Mapping | Sequence):
        raise UserError(f"settings are a mapping or a list of key=value words, not {settings!r}")
    words = [_word(*pair) for pair in settings.items()] if isinstance(settings, Mapping) else list(settings)
    runs = list(expand(words))
    if len(runs) > 1:
        raise UserError(f"{' '.join(words)} asks for {len(runs)} runs; loop over them, one call a run")
    return runs[0]


def _word(key: str, value: object) -> str:
    """A setting as a word of the command line."""
    from bench.config.words import written

    if isinstance(value, Mapping):
        raise UserError(f"settings are flat: write {', '.join(f'{key}.{name}' for name in value)} instead of {key!r}")
    return f"{key}={written(str(value) if isinstance(value, Path) else value)}"


def _records(directory: str | Path, words: Sequence[str]) -> list[Record]:
    from bench.compare.select import select
    from bench.record.ledger import read

    if isinstance(words, str):
        raise UserError(f"words is a list; write [{words!r}]")
    ledger = read(Path(directory))
    for path, why in ledger.skipped:
        warnings.warn(f"left out: {path}: {why}", stacklevel=4)
    return select(ledger.records, words)
