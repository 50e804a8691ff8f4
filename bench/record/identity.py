"""The name of a run: equal for runs that would give the same result, different otherwise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from bench.record.serialize import canonical

SAME_RESULT = (
    "runs_dir",
    "track",
    "data.name",
    "data.path",
    "train.save_every",
    "train.log_every",
    "index.threads",
    "mining.memory_mb",
    "mining.judge",
)
"""Keys of the configuration that do not change a result: where it is written, who watches, how often it is
saved, how many threads search, how much memory mining has and who judges it. What the data is called is left out
because its fingerprint stands for it."""

SAME_METRICS = (*SAME_RESULT, "eval.untrained", "eval.recall_file")
"""And those that only add to what a run leaves behind."""


LATER = ("budget.", "eval.max_corpus")
"""Settings that came after the first records: while they are null they do not count, as if not there."""


def counted(config_tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recorded tree by dotted key, less later ones that are not in use."""
    return {key: value for key, value in flat(config_tree) if value is not None or not key.startswith(LATER)}


def run_id(config_tree: Mapping[str, Any], fingerprint: str) -> str:
    """``{strategy}-{data}-s{seed}-{8 hex digits}`` for a resolved configuration and its data's fingerprint.

    Letters, digits, ``_``, ``.`` and ``-`` only, which directories and W&B both take. The digits are of a
    SHA-256 over the configuration less :data:`SAME_RESULT`; the order of keys, and 30 against 30.0, do not
    matter.
    """
    strategy = _safe(_name(config_tree, "strategy"))
    data = _safe(PurePath(_name(config_tree, "data")).name)
    tree = {key: value for key, value in counted(config_tree).items() if key not in SAME_RESULT}
    digits = hashlib.sha256(canonical([tree, fingerprint]).encode()).hexdigest()[:8]
    return f"{strategy}-{data}-s{config_tree['seed']}-{digits}"


def setting(config_tree: Mapping[str, Any]) -> dict[str, Any]:
    """What runs share that differ in nothing but the seed: ``{"train.epochs": 1, "strategy.margin": ...}``."""
    return {key: value for key, value in counted(config_tree).items() if key not in (*SAME_METRICS, "seed")}


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested tree as (dotted key, value)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _name(tree: Mapping[str, Any], key: str) -> str:
    """The ``name`` (or, of data, ``path``) of a group of the configuration, which may be a bare name."""
    group = tree[key]
    if isinstance(group, Mapping):
        return str(group.get("name") or group.get("path") or "")
    return str(group)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)[:24].strip("_.") or "unnamed"
