"""Post-processing of a run's vectors: fitted on the texts that the settings name, after training."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from bench.data.dataset import DataSet, Ids
from bench.errors import Impossible, UserError
from bench.model.config import EncoderConfig
from bench.model.embedding import Cost, encode
from bench.model.post import fitted, kept
from bench.model.prepared import Prepared
from bench.run.context import ActiveRun


def check_width(config: EncoderConfig, width: int) -> None:
    """Raise :class:`Impossible` if the post-processing is to keep more values than vectors of ``width`` have."""
    if (kept(config.post) or 0) > width:
        raise Impossible(f"encoder.post={config.post}, but the vectors of encoder={config.name} have {width} values")


def processed(run: ActiveRun, prepared: Prepared) -> tuple[Prepared, Cost]:
    """``prepared`` with the post-processing of the settings as its encoder's last layer, and the cost of fitting it.

    Raises :class:`UserError` when there are no texts to fit on.
    """
    settings = run.config.encoder
    if settings.post == "none":
        return prepared, Cost()
    start = perf_counter()
    queries, passages = _everything(prepared.data) if settings.post_on == "all" else _training(prepared.data)
    count = len(queries) + len(passages)
    if count < 2:
        raise UserError(
            f"encoder.post={settings.post} is fitted on the texts of train, of which {prepared.data.name} has {count}; "
            "encoder.post_on=all takes all its texts, those that are evaluated included"
        )
    with run.display.task(f"fitting {settings.post}", count) as advance:
        asked = ((prepared.queries, queries), (prepared.passages, passages))
        raw = [encode(prepared.encoder, of, prepared.precision, rows, advance, raw=True) for of, rows in asked]
    layer = fitted(settings.post, np.concatenate(raw)).to(prepared.encoder.device)
    return replace(prepared, encoder=prepared.encoder.followed_by(layer)), Cost(perf_counter() - start, count)


def _everything(data: DataSet) -> tuple[Ids, Ids]:
    """Ids of all queries and of all passages."""
    return np.arange(len(data.queries)), np.arange(len(data.passages))


def _training(data: DataSet) -> tuple[Ids, Ids]:
    """Ids of the queries and passages that train has, tasks included."""
    pairs = [side for splits in data.tasks.values() if (p := splits.get("train")) for side in (p.left, p.right)]
    train = data.splits.get("train")
    passages = [train.relevant.values] if train is not None else []
    queries = [*pairs, train.queries] if train is not None else pairs
    empty = np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate([empty, *queries])), np.unique(np.concatenate([empty, *passages]))
