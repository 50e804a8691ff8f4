"""Where the numbers of a report come from: data, software, devices, warnings, and the records that were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.compare.seed_groups import group
from bench.record.record import Record
from reports.blocks import Bullets, Cell, Section, amount, section, table
from reports.parts import Part

MOST = 20  # warnings that are listed
_COUNTS = {
    "corpus": "passages",
    "train_pairs": "training pairs",
    "dev_queries": "dev queries",
    "test_queries": "test queries",
}


def provenance(
    groups: Sequence[Part],
    skipped: Iterable[tuple[Path, str]],
    failed: Iterable[Record] = (),
    finished: Iterable[Record] = (),
) -> Section | None:
    """Data sets by fingerprint, environment and warnings of the runs, and the files and runs left out.

    Left out are the ``failed`` runs, and those of the ``finished`` ones that are invalid.
    """
    records = [record for group in groups for record in group.records]
    left_out = (
        *(f"`{path}`: {why}" for path, why in skipped),
        *(f"`{record.run_id}` failed: {record.error or 'no reason recorded'}" for record in failed),
        *(f"`{record.run_id}` is invalid: {record.invalid}" for record in finished if record.invalid),
    )
    return section(
        "Provenance",
        _data(records),
        Bullets(_environment(records)) if records else None,
        _warnings(records),
        section("Records left out", Bullets(left_out)) if left_out else None,
    )


def _data(records: Sequence[Record]) -> Section | None:
    found = {record.data["fingerprint"]: record.data for record in records}
    if not found:
        return None
    runs = [sum(record.data["fingerprint"] == fingerprint for record in records) for fingerprint in found]
    pairs = [_pairs(data["counts"]) for data in found.values()]
    header = ["data set", "fingerprint", *(["pairs of texts"] if any(pairs) else [])]
    rows = [
        [
            data["name"],
            Cell(fingerprint[:12], hint=fingerprint),
            *([told] if any(pairs) else []),
            *(amount(data["counts"].get(name)) for name in _COUNTS),
            amount(count),
        ]
        for (fingerprint, data), told, count in zip(found.items(), pairs, runs, strict=True)
    ]
    return section("Data", table([*header, *_COUNTS.values(), "runs"], rows, words=len(header)))


def _pairs(counts: Mapping[str, int]) -> str:
    """The numbers of pairs with scores or classes by task and split: ``STS-B: train 5,685, test 1,379``."""
    named = ((*name.rsplit("_", 2)[:2], count) for name, count in counts.items() if name.endswith("_texts"))
    by_task = group(named, lambda of: of[0])
    return "; ".join(f"{task}: {', '.join(f'{s} {n:,}' for _, s, n in of)}" for task, of in by_task.items())


def _warnings(records: Sequence[Record]) -> Section | None:
    """Each warning that a run gave, once, with the number of runs that gave it; the most frequent come first."""
    told = Counter(warning for record in records for warning in dict.fromkeys(_listed(record)))
    items = [f"{text} ({count} of {len(records)} runs)" for text, count in told.most_common(MOST)]
    if (more := len(told) - MOST) > 0:
        items.append(f"{more} more; they stand in the records under `training.warnings`")
    return section("Warnings", Bullets(tuple(items))) if items else None


def _listed(record: Record) -> list[str]:
    warnings = record.training.get("warnings")
    return [text for text in warnings if isinstance(text, str)] if isinstance(warnings, list) else []


def _environment(records: Sequence[Record]) -> tuple[str, ...]:
    """The values that each property of the environment had over all runs."""
    lines = []
    for name in ("device", "cpu", "gpu", "threads", "platform", "python", "precision"):
        values = dict.fromkeys(str(record.environment[name]) for record in records if record.environment.get(name))
        if values:
            lines.append(f"{name}: {', '.join(values)}")
    packages: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in (record.environment.get("packages") or {}).items():
            packages.setdefault(name, {})[str(version)] = None
    if packages:
        lines.append(", ".join(f"{name} {' and '.join(versions)}" for name, versions in packages.items()))
    commits = dict.fromkeys(str(r.environment["git"])[:9] for r in records if r.environment.get("git"))
    if commits:
        lines.append(f"negbench commits: {', '.join(commits)}")
    days = sorted(record.started[:10] for record in records)
    lines.append(f"{len(records)} run{'s' * (len(records) != 1)}, {days[0]} to {days[-1]}")
    return tuple(lines)
