"""Records as one table: a row per strategy and setting, its seeds summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev

import pandas as pd

from bench.compare.cells import cells, differences, group, one_a_seed
from bench.record.identity import setting
from bench.record.plain import canonical
from bench.record.record import Metrics, Record

UNTRAINED = "untrained"
# What the metrics of an encoder depend on before it is trained.
_BEFORE_TRAINING = ("encoder.", "index.", "eval.", "train.init_from", "train.precision", "device")


def summarise(records: Iterable[Record]) -> pd.DataFrame:
    """One row for the runs that differ in nothing but the seed, an untrained row before those that start from it.

    Runs belong together when data fingerprint, encoder, split and every setting that can change a result are
    equal; of two runs with one seed the later counts. A section is a data set, an encoder and a split.

    Columns: ``section`` (its number), ``data``, ``fingerprint``, ``backbone``, ``encoder``, ``split``,
    ``strategy``, ``seeds`` (a tuple), ``n``, ``commands`` (a tuple), ``device``; ``encoder`` and ``setting`` hold
    only what tells the row from its neighbours. Then ``NAME`` and ``NAME sd`` for each metric, ``cost/NAME`` for
    each cost and ``told/NAME`` for each scalar of telemetry: the mean over seeds, missing when a seed has no
    value, and the sample standard deviation, missing when there is one seed.
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


def _order(record: Record) -> tuple[object, ...]:
    return (record.data["name"], record.strategy, canonical(setting(record.config)), record.seed)


def _section(record: Record) -> tuple[str, str, str]:
    return record.data["fingerprint"], canonical(record.encoder), record.split


def _less_name(encoder: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in encoder.items() if key != "name"}


def _trained(members: Sequence[Record]) -> list[dict[str, object]]:
    return [
        {
            "strategy": cell.strategy,
            "setting": cell.setting,
            "commands": tuple(dict.fromkeys(record.command for record in cell.records)),
            "device": "; ".join(dict.fromkeys(str(r.environment.get("device", "")) for r in cell.records)),
            **_over_seeds(cell.records, lambda record: record.metrics),
            **{f"cost/{name}": value for name, (value, _) in _means([r.cost for r in cell.records]).items()},
            **{f"told/{name}": value for name, (value, _) in _means([_told(r) for r in cell.records]).items()},
        }
        for cell in cells(members)
    ]


def _told(record: Record) -> dict[str, float]:
    """The telemetry of a run, of its last stage where there are several."""
    telemetry = record.training.get("telemetry", {})
    return {name.rpartition("/")[2]: value for name, value in telemetry.items()}


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
            **_over_seeds(one_a_seed(records), lambda record: record.baseline_metrics or {}),
        }
        for records, label in zip(found, labels, strict=True)
    ]


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
