"""Records that belong together: the runs of one strategy and setting, one for each seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.record.record import Record
from bench.record.serialize import as_override, canonical

_LENGTH = ("train.epochs", "train.max_steps", "train.stage_steps")
_SEED = re.compile(r" seed=\d+\b")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class SeedGroup:
    """The runs that differ in nothing but the seed, in order of seed; ``setting`` tells it from its neighbours."""

    strategy: str
    setting: str
    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        """``mined_hard n=3``: short, and unlike that of any neighbour."""
        return f"{self.strategy} {self.setting}".strip()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)

    @property
    def commands(self) -> tuple[str, ...]:
        """The shell commands that repeat the runs; those that differ in nothing but the seed are one."""
        found = group(self.records, lambda record: _SEED.sub("", record.command))
        return tuple(f"{line} seed={','.join(str(record.seed) for record in same)}" for line, same in found.items())


def seed_groups(records: Iterable[Record]) -> list[SeedGroup]:
    """The cells of ``records``, by strategy and then as they come; of two runs with one seed the later counts.

    Runs of other data are other cells, which is what a label tells first.

    A setting that is null in one cell and not in another is told of the other alone. How long a cell trains is what
    its budget says; a label tells it only from cells of the same strategy.
    """
    settings = group(records, lambda r: canonical([r.strategy, r.knobs, r.setting, r.data["fingerprint"]]))
    runs = [one_a_seed(found) for found in settings.values()]
    labels = dict(zip(map(id, runs), differences([_common(found[0]) for found in runs]), strict=True))
    made = []
    for name, same in group(runs, lambda found: found[0].strategy).items():
        for found, own in zip(same, differences([_own(found[0]) for found in same]), strict=True):
            made.append(SeedGroup(name, f"{own} {labels[id(found)]}".strip(), tuple(found)))
    return made


def _own(record: Record) -> dict[str, object]:
    """What tells a cell from others of its strategy alone."""
    known = record.setting
    return _set({**record.knobs, **{key: known.get(key) for key in _LENGTH}})


def _common(record: Record) -> dict[str, object]:
    """What tells a cell from any other."""
    known = {"data": record.data["name"], **_set(record.setting)}
    return {key: value for key, value in known.items() if key not in _LENGTH and not key.startswith("strategy.")}


def _set(tree: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in tree.items() if value is not None}


def differences(trees: Sequence[Mapping[str, object]]) -> list[str]:
    """Of each mapping, ``"key=value ..."`` for the keys on which not all of them agree.

    A dotted key is cut to its last part where that is plain enough.
    """
    keys = dict.fromkeys(key for tree in trees for key in tree)
    last = Counter(key.rpartition(".")[2] for key in keys)
    short = {key: end if last[end := key.rpartition(".")[2]] == 1 else key for key in keys}
    apart = [key for key in keys if len({canonical([tree[key]] if key in tree else []) for tree in trees}) > 1]
    return [" ".join(f"{short[key]}={as_override(tree[key])}" for key in apart if key in tree) for tree in trees]


def group(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, in order of first appearance."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def one_a_seed(records: Sequence[Record]) -> list[Record]:
    """The latest run of every seed: a repetition is not another sample."""
    latest = {record.seed: record for record in sorted(records, key=lambda r: r.finished or "")}
    return [latest[seed] for seed in sorted(latest)]
