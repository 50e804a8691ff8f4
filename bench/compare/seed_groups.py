"""Records grouped by strategy and setting: one run for each seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.record.record import Record
from bench.record.serialize import as_override, canonical

LENGTH = ("train.epochs", "train.max_steps", "train.stage_steps")
_SHELL_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+""")
_SEED = re.compile(r"seed=\d+")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ only in the seed, in order of seed; ``setting`` distinguishes the group from others."""

    strategy: str
    setting: str
    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        """``mined_hard n=3``: short, and different from every other group's label."""
        return f"{self.strategy} {self.setting}".strip()

    @property
    def unlabelled(self) -> str:
        """The strategy's settings that the command gives and the label leaves out: ``scale=20 n=3``."""
        words = [word.strip("'\"") for word in _SHELL_WORD.findall(self.records[0].command)]
        given = [word.removeprefix("strategy.") for word in words if word.startswith("strategy.")]
        shown = {word.partition("=")[0] for word in self.setting.split()}
        return " ".join(word for word in given if not shown & {key := word.partition("=")[0], key.rpartition(".")[2]})

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)

    @property
    def commands(self) -> tuple[str, ...]:
        """The shell commands that repeat the runs; commands that differ only in the seed are joined."""
        found = group(self.records, lambda record: _without_seed(record.command))
        return tuple(f"{line} seed={','.join(str(record.seed) for record in same)}" for line, same in found.items())


def _without_seed(command: str) -> str:
    return " ".join(word for word in _SHELL_WORD.findall(command) if not _SEED.fullmatch(word))


def seed_groups(records: Iterable[Record]) -> list[SeedGroup]:
    """The groups of ``records``, by strategy and then in order of appearance.

    Of two runs with one seed the later counts. Runs on different data are in different groups, and their labels begin
    with the data. A label leaves out settings that are null. It gives the length of training only to distinguish groups
    of the same strategy, because between strategies the budget says how long they train.
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
    """Settings that may distinguish a group from others of its strategy."""
    known = record.setting
    return _set({**record.knobs, **{key: known.get(key) for key in LENGTH}})


def _common(record: Record) -> dict[str, object]:
    """Settings that may distinguish a group from any other."""
    known = {"data": record.data["name"], **_set(record.setting)}
    return {key: value for key, value in known.items() if key not in LENGTH and not key.startswith("strategy.")}


def _set(tree: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in tree.items() if value is not None}


def differences(trees: Sequence[Mapping[str, object]]) -> list[str]:
    """For each mapping, ``"key=value ..."`` for the keys in which the mappings differ.

    A dotted key is cut to its last part where that is unambiguous.
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
