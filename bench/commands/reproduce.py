"""``bench reproduce``: repeat a published result and compare it with the published number."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError, nearest


def reproduce(name: str | None, words: Sequence[str]) -> bool:
    """Repeat the published row ``name``; returns whether the result passes. Without a name, list all rows."""
    from bench.commands.run import carry_out
    from bench.config.overrides import resolve
    from bench.data.presets import PRESETS
    from bench.evaluate.metrics import names
    from bench.record.schema import RETRIEVAL
    from reports.documented import documented
    from reports.gate import against
    from reports.markdown import render
    from reports.parts import parts

    known = {entry.id: entry for entry in documented()}
    if name is None:
        for entry in known.values():
            if entry.gated:
                print(f"{entry.id}: {entry.label}, {entry.backbone} ({entry.data})")
        return True
    if name not in known:
        raise UserError(f"there is no published row {name!r}{nearest(name, known)}")
    entry = known[name]
    overrides = entry.overrides(words)
    if entry.data not in PRESETS and f"data={entry.data}" in overrides[len(words) :]:  # nobody said where it is
        raise UserError(
            f"{name} needs the data set {entry.data}, which has no preset; give its directory as data=DIR/{entry.data}"
        )
    config = resolve(overrides)
    reported = names(config.eval.ks, config.eval.retrieve)
    missing = [metric for metric in entry.metrics if metric not in reported]
    if missing and entry.evaluation == RETRIEVAL.name:
        raise UserError(
            f"{name} was published with the metrics {', '.join(entry.metrics)}; eval.ks leaves out {', '.join(missing)}"
        )
    outcomes, failed = carry_out(overrides)
    if failed:
        return False
    found = parts([outcome.record for outcome in outcomes], config.root, next(iter(entry.metrics)))
    section, passed = against(entry, [row for part in found for row in part.comparison.rows])
    print(render([section]))
    return passed
