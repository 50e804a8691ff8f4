"""Metrics of encoders before training, kept once for all the runs that start from the same weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.disk import refusals, write_whole
from bench.record.plain import canonical, plain


@dataclass(frozen=True)
class Untrained:
    """The evaluation that ``key`` (weights, data, evaluation settings) stands for, in ``root/untrained``."""

    root: Path
    key: Any

    @property
    def path(self) -> Path:
        digest = hashlib.sha256(canonical(self.key).encode()).hexdigest()[:16]
        return self.root / "untrained" / f"{digest}.json"

    def read(self) -> Mapping[str, float | None] | None:
        """Metrics in percent by name, or None when they are not known yet (or the file is damaged)."""
        try:
            metrics = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None
        return metrics if isinstance(metrics, dict) else None

    def write(self, metrics: Mapping[str, float | None]) -> None:
        """Keep metrics for the runs to come. Raises :class:`UserError` when the disk refuses."""
        with refusals(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, (json.dumps(plain(dict(metrics)), indent=1) + "\n").encode())
