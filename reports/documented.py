"""Numbers that others have published, as data: what they were measured on, and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UserError

BASELINES = Path(__file__).parent / "baselines"
_SHARED = ("data", "source")


@dataclass(frozen=True)
class Documented:
    """One published result, in percent.

    ``strategy`` is the name of the strategy here that does the same, or None; ``data`` and ``backbone`` are
    what it was measured on (``backbone`` None where the source does not say).
    """

    id: str
    label: str
    strategy: str | None
    data: str
    backbone: str | None
    metrics: Mapping[str, float]
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()

    def differs(self, data: str, backbone: str) -> str:
        """What keeps a result on ``data`` with ``backbone`` from being compared with this: ``"data and backbone"``."""
        apart = [name for name, ours in (("data", data), ("backbone", backbone)) if getattr(self, name) != ours]
        return " and ".join(apart)


def documented(folder: Path = BASELINES) -> list[Documented]:
    """Every row of every file of ``folder``; what a file says above its rows holds for each of them.

    Raises :class:`UserError` naming the file and the row whose fields are wrong, or an id that is there twice.
    """
    found: dict[str, Documented] = {}
    for path in sorted(folder.glob("*.yaml")):
        for row in _rows(path):
            if row.id in found:
                raise UserError(f"{path}: row {row.id} is there twice")
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
        for name, value in row.metrics.items():
            if not isinstance(value, int | float) or not 0 <= value <= 100:
                raise UserError(f"{where}: {name}={value!r} is not a percentage")
        rows.append(row)
    return rows
