"""Post-processing of a run's vectors: fitted on the texts that the settings name, after training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from torch.nn.functional import normalize

from bench.data.dataset import DataSet, Floats, Ids
from bench.data.tokens import Tokens
from bench.errors import Impossible, UserError
from bench.model.config import EncoderConfig
from bench.model.embedding import Cost, embed, encode
from bench.model.post import fitted, kept
from bench.model.prepared import Prepared
from bench.run.context import ActiveRun


def check_width(config: EncoderConfig, width: int) -> None:
    """Raise :class:`Impossible` if the post-processing is to keep more values than vectors of ``width`` have."""
    if (kept(config.post) or 0) > width:
        raise Impossible(f"encoder.post={config.post}, but the vectors of encoder={config.name} have {width} values")


def processed(run: ActiveRun, prepared: Prepared, untrained: bool = False) -> tuple[Prepared, Cost]:
    """``prepared`` with the post-processing of the settings as its encoder's last layer, and the cost of fitting it.

    What is fitted for each task (``encoder.post_on=task``) is no layer of the encoder: see :func:`of_each_task`.
    Raises :class:`UserError` when there are no texts to fit on.
    """
    settings = run.config.encoder
    if settings.post == "none" or by_task(settings):
        return prepared, Cost()
    start = perf_counter()
    queries, passages = _everything(prepared.data) if settings.post_on == "all" else _training(prepared.data)
    count = len(queries) + len(passages)
    if count < 2:
        raise UserError(
            f"encoder.post={settings.post} is fitted on the texts of train, of which {prepared.data.name} has {count}; "
            "encoder.post_on=all takes all its texts, those that are evaluated included"
        )
    sides = ((prepared.queries, queries), (prepared.passages, passages))
    raw = np.concatenate([_raw(run, prepared, tokens, rows, untrained) for tokens, rows in sides if len(rows)])
    layer = fitted(settings.post, raw).to(prepared.encoder.device)
    return replace(prepared, encoder=prepared.encoder.followed_by(layer)), Cost(perf_counter() - start, count)


def by_task(settings: EncoderConfig) -> bool:
    """Whether the post-processing is fitted for each similarity task."""
    return settings.post != "none" and settings.post_on == "task"


def of_each_task(run: ActiveRun, prepared: Prepared, tasks: Mapping[str, Ids], untrained: bool) -> Floats:
    """[n, d] unit vectors of the texts of ``tasks``, one task after the other.

    The post-processing of each task is fitted on all its texts, those of its other splits included.
    """
    everything = {
        name: np.unique(np.concatenate([p.texts for p in prepared.data.tasks[name].values()])) for name in tasks
    }
    rows = np.unique(np.concatenate(list(everything.values())))
    raw = _raw(run, prepared, prepared.queries, rows, untrained)
    found = []
    for name, ids in tasks.items():
        layer = fitted(run.config.encoder.post, raw[np.searchsorted(rows, everything[name])])
        with torch.no_grad():
            found.append(normalize(layer(torch.from_numpy(raw[np.searchsorted(rows, ids)])), dim=-1).numpy())
    return np.concatenate(found)


def _raw(run: ActiveRun, prepared: Prepared, tokens: Tokens, rows: Ids, untrained: bool) -> Floats:
    """[n, d] vectors before normalisation; those of an encoder that is not trained are cached."""
    name = f"fitting {run.config.encoder.post}"
    if untrained:
        found, _ = embed(prepared, tokens, rows, run.cache, run.display.task, name, raw=True, world=run.world)
        return np.asarray(found.matrix)
    with run.display.task(name, len(rows)) as advance:
        return encode(prepared.encoder, tokens, prepared.precision, rows, advance, raw=True, world=run.world)


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
