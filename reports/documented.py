"""Published results as data: the numbers, what they were measured on, and their caveats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from bench.errors import UserError, choice
from bench.record.identity import flat
from bench.record.record import Record
from bench.record.schema import RETRIEVAL, SCHEMAS
from bench.record.serialize import as_override, canonical

BASELINES = Path(__file__).parent / "baselines"
_SHARED = ("data", "source", "tolerance", "because", "evaluation", "heading", "pairs")


@dataclass(frozen=True)
class Documented:
    """One published result, in percent (of a correlation: times 100).

    ``strategy`` is the name of the equivalent strategy in negbench, or None; a row whose settings have
    ``train.max_steps: 0`` is of an encoder as it is and needs none. It was trained and measured on ``data`` with
    ``backbone`` (None where the source does not say); ``encoder`` is a preset or hub id of that backbone. ``settings``
    are the settings that the source states, under negbench's dotted keys. ``tolerance`` is the difference in points
    within which a repetition passes, and ``because`` its reason.

    ``evaluation`` is the kind of evaluation, whose names the metrics have. ``pairs`` are the sentence similarity tasks
    that were measured, each with the numbers of pairs that its split may have. ``heading`` is the title of the rows in
    a report, if it is not ``data``.
    """

    id: str
    label: str
    strategy: str | None
    data: str
    backbone: str | None
    metrics: Mapping[str, float]
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: str | None = None
    tolerance: float | None = None
    because: str = ""
    caveats: tuple[str, ...] = ()
    evaluation: str = RETRIEVAL.name
    pairs: Mapping[str, Sequence[int]] = field(default_factory=dict)
    heading: str = ""

    @property
    def trains(self) -> bool:
        """Whether the result is of training, and not of an encoder as it is."""
        return self.settings.get("train.max_steps") != 0

    @property
    def gated(self) -> bool:
        """Whether a run can repeat it, and passes or fails."""
        return bool((self.strategy or not self.trains) and self.backbone) and self.tolerance is not None

    def beside(self, record: Record) -> bool:
        """Whether ``record`` may stand beside it as context: of the same data, or the same tasks, and split."""
        tasks = [name for name in self.metrics if "/" in name]
        alike = bool(tasks) and self._same_pairs(record) and record.metrics.keys() >= set(tasks)
        split = record.split == self.settings.get("eval.split", record.split)
        return record.evaluation == self.evaluation and split and (alike or record.data["name"] == self.data)

    def differs(self, record: Record) -> list[str]:
        """In what ``record`` differs: of data, backbone and strategy, or else settings such as ``["train.epochs"]``."""
        apart = [] if self._same_data(record) else ["data"]
        names = {name for name in (self.backbone, PurePath(self.encoder or "").name) if name}
        if record.encoder_name not in names:
            apart.append("backbone")
        if self.trains and record.strategy != self.strategy:
            apart.append("strategy")
        if apart:
            return apart
        config = {**dict(flat(record.config)), "eval.split": record.split}
        return [key for key, value in self.settings.items() if canonical(config.get(key)) != canonical(value)]

    def _same_data(self, record: Record) -> bool:
        """Whether ``record`` is of the same data set; where nothing is trained the measured pairs alone count."""
        named = record.data["name"] == self.data or (bool(self.pairs) and not self.trains)
        return record.evaluation == self.evaluation and named and self._same_pairs(record)

    def _same_pairs(self, record: Record) -> bool:
        counts = record.data["counts"]
        return all(counts.get(f"{task}_{record.split}_texts") in sizes for task, sizes in self.pairs.items())

    def overrides(self, given: Sequence[str] = ()) -> list[str]:
        """The overrides that repeat this result; those of ``given`` take precedence.

        Raises :class:`UserError` when there is no equivalent strategy, or the backbone is neither known nor given.
        """
        if self.strategy is None and self.trains:
            raise UserError(f"{self.id} cannot be reproduced: negbench has no equivalent strategy")
        strategy = {"strategy": self.strategy} if self.strategy else {}
        own = {**strategy, "data": self.data, "encoder": self.encoder, **self.settings}
        keys = {text.partition("=")[0] for text in given}
        left = {key: value for key, value in own.items() if not {key, f"{key}.name"} & keys}
        if "encoder" in left and self.encoder is None:
            named = self.backbone or "a backbone that its source does not name"
            raise UserError(f"{self.id} was measured with {named}; give its place as encoder=DIR_OR_HUB_ID")
        return [*given, *(f"{key}={as_override(value)}" for key, value in left.items())]


def documented(folder: Path = BASELINES) -> list[Documented]:
    """Every row of every file of ``folder``; fields above a file's rows hold for each of them.

    Raises :class:`UserError` naming the file and the row for wrong fields and repeated ids.
    """
    found: dict[str, Documented] = {}
    for path in sorted(folder.glob("*.yaml")):
        for row in _rows(path):
            if row.id in found:
                raise UserError(f"{path}: row {row.id} appears twice")
            found[row.id] = row
    return list(found.values())


def _rows(path: Path) -> list[Documented]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    rows = []
    for number, own in enumerate(tree["rows"], 1):
        merged = {
            **{key: tree[key] for key in _SHARED if key in tree},
            **own,
            "settings": {**tree.get("settings", {}), **own.get("settings", {})},
            "caveats": (*tree.get("caveats", ()), *own.get("caveats", ())),
        }
        where = f"{path}: row {own.get('id', number)}"
        try:
            row = Documented(**merged)
        except TypeError as error:
            raise UserError(f"{where}: {error}") from error
        choice(f"{where}: evaluation", row.evaluation, SCHEMAS)
        for name, value in row.metrics.items():
            if not isinstance(value, int | float) or not SCHEMAS[row.evaluation].lowest <= value <= 100:
                raise UserError(f"{where}: {name}={value!r} is not a percentage")
        rows.append(row)
    return rows
