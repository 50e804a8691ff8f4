"""The id of a run: equal for equal data and settings that decide the result. Weights count by name."""

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
    "keep",
    "threads",
    "data.name",
    "data.path",
    "data.skip_broken",
    "data.columns",
    "data.generated",
    "data.judged",
    "train.save_every",
    "train.log_every",
    "index.threads",
    "mining.memory_mb",
    "mining.judge",
)
"""Keys of the configuration that do not change a result: where it is written, who watches, whether its weights
are kept, how many threads compute, how often it is saved, how much memory mining has and who judges it. What the
data is called, and how it is read, is left out because its fingerprint stands for it."""

SAME_METRICS = (*SAME_RESULT, "eval.untrained", "eval.recall_file")
"""And those that only add to what a run leaves behind."""


LATER: Mapping[str, Any] = {
    "budget.": None,
    "devices": 1,
    "train.groups": 1,
    "train.schedule": "linear",
    "train.patience": None,
    "data.generated_per_query": None,
    "eval.max_corpus": None,
    "eval.data": None,
    "index.engine": "hnswlib",
    "index.build_threads": None,
    "encoder.causal": False,
    "encoder.post": "none",
    "encoder.post_on": "train",
    "encoder.trust_remote_code": False,
    "strategy.clusters": None,
    "strategy.guided.clusters": None,
}
"""Settings that came after the first records, by the start of their key, with what every run had before: while one has
that value it does not count, as if not there."""


def counted(config_tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recorded tree by dotted key, less later ones that have the value of before."""
    return {key: value for key, value in flat(config_tree) if not _as_before(key, value)}


def _as_before(key: str, value: Any) -> bool:
    return any(key.startswith(start) and value == first for start, first in LATER.items())


def run_id(config_tree: Mapping[str, Any], fingerprint: str) -> str:
    """``{strategy}-{data}-s{seed}-{8 hex digits}`` for a resolved configuration and its data's fingerprint.

    Letters, digits, ``_``, ``.`` and ``-`` only, which directories and W&B both take. The digits are of a
    SHA-256 over the configuration without :data:`SAME_RESULT`; the order of keys, and 30 against 30.0, do not
    matter.
    """
    strategy = _safe(_name(config_tree, "strategy"))
    data = _safe(PurePath(_name(config_tree, "data")).name)
    tree = {key: value for key, value in counted(config_tree).items() if key not in SAME_RESULT}
    digits = hashlib.sha256(canonical([tree, fingerprint]).encode()).hexdigest()[:8]
    return f"{strategy}-{data}-s{config_tree['seed']}-{digits}"


def setting(config_tree: Mapping[str, Any]) -> dict[str, Any]:
    """What runs share that differ in nothing but the seed: ``{"train.epochs": 1, "strategy.margin": ...}``.

    A later setting that had a value before it could be chosen is always among them, with a record that lacks it too.
    """
    before = {key: first for key, first in LATER.items() if first is not None}
    known = {**before, **counted(config_tree)}
    return {key: value for key, value in known.items() if key not in (*SAME_METRICS, "seed")}


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
