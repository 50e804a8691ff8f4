"""Records as one table: a row per strategy and setting, its seeds summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import TypeVar

import pandas as pd

from bench.record.identity import setting
from bench.record.plain import canonical
from bench.record.record import Metrics, Record

UNTRAINED = "untrained"
# What the metrics of an encoder depend on before it is trained.
_BEFORE_TRAINING = ("encoder.", "index.", "eval.", "train.init_from", "train.precision", "device")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def summarise(records: Iterable[Record]) -> pd.DataFrame:
    """One row for the runs that differ in nothing but the seed, an untrained row before those that start from it.

    Runs belong together when data fingerprint, encoder, split and every setting that can change a result are
    equal; of two runs with one seed the later counts. A section is a data set, an encoder and a split.

    Columns: ``section`` (its number), ``data``, ``fingerprint``, ``backbone``, ``encoder``, ``split``,
    ``strategy``, ``seeds`` (a tuple), ``n``, ``commands`` (a tuple), ``device``; ``encoder`` and ``setting`` hold
    only what tells the row from its neighbours. Then ``NAME`` and ``NAME sd`` for each metric and ``cost/NAME``
    for each cost: the mean over seeds, missing when a seed has no value, and the sample standard deviation,
    missing when there is one seed.
    """
    rows: list[dict[str, object]] = []
    sections = group(sorted(records, key=_order), _section)
    encoders = differences([_less_name(members[0].encoder) for members in sections.values()])
    for number, (members, encoder) in enumerate(zip(sections.values(), encoders, strict=True)):
        first = members[0]
        place = {
            "section": number,
            "data": first.data["name"],
            "fingerprint": first.data["fingerprint"],
            "backbone": str(first.encoder.get("name", "")),
            "encoder": encoder,
            "split": first.split,
        }
        rows += [{**place, **row} for row in (*_untrained(members), *_trained(members))]
    return pd.DataFrame(rows)


def differences(trees: Sequence[Mapping[str, object]]) -> list[str]:
    """Of each mapping, ``"key=value ..."`` for the keys on which not all of them agree.

    A dotted key is cut to its last part where that is plain enough.
    """
    keys = dict.fromkeys(key for tree in trees for key in tree)
    last = Counter(key.rpartition(".")[2] for key in keys)
    short = {key: end if last[end := key.rpartition(".")[2]] == 1 else key for key in keys}
    apart = [key for key in keys if len({canonical([tree[key]] if key in tree else []) for tree in trees}) > 1]
    return [" ".join(f"{short[key]}={_word(tree[key])}" for key in apart if key in tree) for tree in trees]


def group(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, in order of first appearance."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _order(record: Record) -> tuple[object, ...]:
    return (record.data["name"], record.strategy, canonical(setting(record.config)), record.seed)


def _section(record: Record) -> tuple[str, str, str]:
    return record.data["fingerprint"], canonical(record.encoder), record.split


def _less_name(encoder: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in encoder.items() if key != "name"}


def _trained(members: Sequence[Record]) -> list[dict[str, object]]:
    settings = group(members, lambda r: canonical([r.strategy, r.knobs, setting(r.config)]))
    runs = [_one_a_seed(found) for found in settings.values()]
    common = [
        {key: value for key, value in setting(found[0].config).items() if not key.startswith("strategy.")}
        for found in runs
    ]
    labels = dict(zip(map(id, runs), differences(common), strict=True))
    rows: list[dict[str, object]] = []
    for same in group(runs, lambda found: found[0].strategy).values():
        for found, knobs in zip(same, differences([f[0].knobs for f in same]), strict=True):
            rows.append(
                {
                    "strategy": found[0].strategy,
                    "setting": f"{knobs} {labels[id(found)]}".strip(),
                    "commands": tuple(dict.fromkeys(record.command for record in found)),
                    "device": "; ".join(dict.fromkeys(str(r.environment.get("device", "")) for r in found)),
                    **_over_seeds(found, lambda record: record.metrics),
                    **{f"cost/{name}": value for name, (value, _) in _means([r.cost for r in found]).items()},
                }
            )
    return rows


def _untrained(members: Sequence[Record]) -> list[dict[str, object]]:
    measured = [record for record in members if record.baseline_metrics is not None]

    def start(record: Record) -> dict[str, object]:
        return {k: v for k, v in setting(record.config).items() if k.startswith(_BEFORE_TRAINING)}

    found = list(group(measured, lambda record: canonical(start(record))).values())
    labels = differences([start(records[0]) for records in found])
    return [
        {
            "strategy": UNTRAINED,
            "setting": label,
            "commands": (),
            "device": "",
            **_over_seeds(_one_a_seed(records), lambda record: record.baseline_metrics or {}),
        }
        for records, label in zip(found, labels, strict=True)
    ]


def _one_a_seed(records: Sequence[Record]) -> list[Record]:
    """The latest run of every seed: a repetition is not another sample."""
    latest = {record.seed: record for record in sorted(records, key=lambda r: r.finished or "")}
    return [latest[seed] for seed in sorted(latest)]


def _over_seeds(records: Sequence[Record], metrics: Callable[[Record], Metrics]) -> dict[str, object]:
    summary = _means([metrics(record) for record in records])
    return {
        "seeds": tuple(record.seed for record in records),
        "n": len(records),
        **{name: value for name, (value, _) in summary.items()},
        **{f"{name} sd": spread for name, (_, spread) in summary.items()},
    }


def _means(measured: Sequence[Metrics]) -> dict[str, tuple[float | None, float | None]]:
    """Mean and sample standard deviation of each metric that every mapping has a value for."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for name in dict.fromkeys(name for metrics in measured for name in metrics):
        values = [value for metrics in measured if (value := metrics.get(name)) is not None]
        whole = len(values) == len(measured)
        found[name] = (mean(values) if whole else None, stdev(values) if whole and len(values) > 1 else None)
    return found


def _word(value: object) -> str:
    """A value as the command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_word, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
