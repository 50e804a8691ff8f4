"""Which runs may stand in one comparison, and why others may not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.compare.seed_groups import SeedGroup, differences, group
from bench.compare.select import selecting
from bench.errors import UserError
from bench.record.identity import counted
from bench.record.record import Record
from bench.record.serialize import canonical

_EVALUATION = ("eval.", "index.")
_BUDGET = "budget."
_STOPPING = ("train.patience", "train.eval_every", "train.epochs", "train.max_steps")
_SIZES = ("passages", "train_pairs")
MOST = 5  # ways to differ that a message lists
WIDE = 90  # characters of one


def _data(record: Record) -> dict[str, Any]:
    sizes = {name: record.data["counts"].get(name) for name in _SIZES}
    return {"data": record.data["name"], **sizes, "fingerprint": record.data["fingerprint"][:12]}


def _encoder(record: Record) -> dict[str, Any]:
    start = record.config.get("train", {}).get("init_from")
    return {**counted({"encoder": record.encoder}), "train.init_from": start}


def _evaluation(record: Record) -> dict[str, Any]:
    settings = {key: value for key, value in record.setting.items() if key.startswith(_EVALUATION)}
    return {"evaluation": record.evaluation, "split": record.split, **settings}


def _budget(record: Record) -> dict[str, Any]:
    """The budget: the declared one; else the rule by which dev ends training; else the number of training examples."""
    declared = {key: value for key, value in record.setting.items() if key.startswith(_BUDGET)}
    if declared:
        return declared
    if record.setting.get("train.patience") is not None:
        return {key: record.setting.get(key) for key in _STOPPING}
    return {"examples": (record.selection.get("steps") or 0) * pairs_a_step(record)}


def pairs_a_step(record: Record) -> int:
    """The size of a full batch: ``train.batch_size``, or all training pairs where these are fewer."""
    batch: int = record.config.get("train", {}).get("batch_size", 1)
    pairs: int = record.data["counts"].get("train_pairs", batch)
    seen = record.cost.get("examples")
    whole = pairs < batch and seen in (None, (record.selection.get("steps") or 0) * pairs)
    return pairs if whole else batch  # a stage without labels trains on other examples than the pairs


ASPECTS: dict[str, Callable[[Record], dict[str, Any]]] = {
    "data": _data,
    "encoder": _encoder,
    "evaluation": _evaluation,
    "budget": _budget,
}


def comparable(records: Iterable[Record]) -> list[list[Record]]:
    """The records in groups; the records of one group may be compared."""
    return list(group(records, lambda record: canonical([of(record) for of in ASPECTS.values()])).values())


def distinguish(groups: Sequence[Sequence[Record]]) -> list[str]:
    """For each group of :func:`comparable`, the settings that distinguish it from the others, in words.

    Data, split and encoder are left out, since titles have them. The encoder's path and then the fingerprint of the
    data are given only where nothing else distinguishes the groups.
    """
    ways = [{key: value for of in ASPECTS.values() for key, value in of(records[0]).items()} for records in groups]

    def without(*keys: str) -> list[str]:
        return differences([{key: value for key, value in way.items() if key not in keys} for way in ways])

    for known in (("encoder.name", "fingerprint"), ("fingerprint",), ()):
        said = without("data", "split", *known)
        if len(set(said)) == len(said):
            break
    return said


def differing_aspects(cells: Sequence[SeedGroup]) -> dict[str, list[tuple[str, list[str]]]]:
    """For each aspect in which the cells differ: every value it has, in words, with the labels of its cells."""
    found = {}
    for name, aspect in ASPECTS.items():
        described = [(cell.label, aspect(record)) for cell in cells for record in cell.records]
        ways = group(described, lambda way: canonical(way[1]))
        if len(ways) > 1:
            what = differences([same[0][1] for same in ways.values()])
            labels = [list(dict.fromkeys(label for label, _ in same)) for same in ways.values()]
            found[name] = list(zip(what, labels, strict=True))
    return found


def refuse_incomparable(cells: Sequence[SeedGroup], allowed: Sequence[str]) -> list[str]:
    """Raise :class:`UserError` with the reasons when the cells differ in an aspect that is not ``allowed``.

    Returns one note for each allowed aspect in which they differ.
    """
    found = differing_aspects(cells)
    refused = {name: ways for name, ways in found.items() if name not in allowed}
    if refused:
        lines = [f"these runs cannot be compared: they differ in {', '.join(refused)}:"]
        for name, ways in refused.items():
            lines += [f"  {name}: {_short(what)} ({_listed(labels)})" for what, labels in ways[:MOST]]
            if len(ways) > MOST:
                lines.append(f"  {name}: and {len(ways) - MOST} more")
        if any(what.startswith("examples=") for what, _ in refused.get("budget", ())):
            lines.append(
                "examples are the pairs that a row trained on; rows with the same budget.texts=N can be compared"
            )
        lines.append(f"select runs that agree ({_example(cells)}), or pass --allow {','.join(refused)}")
        raise UserError("\n".join(lines))
    return [f"{name} differs{_ways(ways)}" for name, ways in found.items()]


def _example(cells: Sequence[SeedGroup]) -> str:
    """Words that each select runs which agree, those of most runs first."""
    groups = sorted(comparable(record for cell in cells for record in cell.records), key=len, reverse=True)
    keys = dict.fromkeys(key for aspect in ASPECTS.values() for records in groups for key in aspect(records[0]))
    words = [word for word in selecting(groups, keys) if len(word) <= WIDE][:MOST]
    return f"such as {' or '.join(words)}" if words else "data=..., strategy=..., any key=value"


def _ways(ways: Sequence[tuple[str, list[str]]]) -> str:
    """The values that differ and their rows; only the names of the settings when the labels already give the values."""
    if all(what in label for what, labels in ways for label in labels):
        return f" in {', '.join(dict.fromkeys(word.partition('=')[0] for what, _ in ways for word in what.split()))}"
    return ": " + "; ".join(f"{what} ({_listed(labels)})" for what, labels in ways)


def _short(text: str) -> str:
    return text if len(text) <= WIDE else f"{text[: WIDE - 3]}..."


def _listed(labels: Sequence[str], most: int = 4) -> str:
    more = len(labels) - most
    return ", ".join(map(_short, labels[:most])) + (f" and {more} more" if more > 0 else "")
