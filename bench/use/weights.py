"""From a run, a study, a directory or a name to the settings of an encoder that is to be used."""

from __future__ import annotations

from dataclasses import fields
from glob import escape
from pathlib import Path

from bench.errors import UserError, nearest, shown
from bench.model.config import EncoderConfig
from bench.model.described import PRESETS, read
from bench.record.files import files_at
from bench.record.ledger import read as read_ledger
from bench.record.store import RunDirectory
from bench.record.study import read_result
from bench.setting import place_named

STUDY = "study:"
Named = str | Path | RunDirectory


def settings_of(encoder: Named | EncoderConfig, runs_dir: Path | None = None) -> EncoderConfig:
    """The settings that belong to an encoder's weights.

    ``encoder`` is what :func:`run_of` finds a run by, any encoder's directory, a preset or a hub id. Raises
    :class:`UserError` for a broken record and for a run that kept no weights.
    """
    if isinstance(encoder, EncoderConfig):
        return encoder
    run = run_of(encoder, runs_dir)
    if run is not None:
        if not run.model.is_dir():
            raise UserError(run.without_weights())
        recorded = run.read_record().encoder
        known = {f.name for f in fields(EncoderConfig)} & recorded.keys()
        # The layers were chosen when the weights were saved.
        return EncoderConfig(**{**{name: recorded[name] for name in known}, "name": str(run.model), "layers": None})
    assert not isinstance(encoder, RunDirectory)
    place = place_named(encoder)
    if place.is_dir():
        told = read(place)  # a use of an encoder is not bound to the lengths of experiments
        longest = None if told.own else told.max_tokens
        return EncoderConfig(str(place), max_query_tokens=longest, max_passage_tokens=longest)
    name = str(encoder)
    if runs_dir is not None and "/" not in name and name not in PRESETS:
        alike = (path.parent.name for path in runs_dir.glob(f"{escape(name[:4])}*/record.json"))
        raise UserError(
            f"there is no run in {runs_dir.resolve()}, no preset and no directory called {shown(name)}"
            f"{nearest(name, [*PRESETS, *alike])}"
        )
    return EncoderConfig(name)


def run_of(name: Named, runs_dir: Path | None = None) -> RunDirectory | None:
    """The run that ``name`` names, if it names one: its directory or ``model/`` in it, its id in ``runs_dir``, or
    ``study:NAME``, the best run of a study there, by the name or the directory of the study. A run that was found
    already is itself.

    Raises :class:`UserError` for a study that is not there, or of which no run kept its weights.
    """
    if isinstance(name, RunDirectory):
        return name
    if str(name).startswith(STUDY):
        return _best_of(str(name).removeprefix(STUDY), runs_dir or Path("runs"))
    place = place_named(name)
    if runs_dir is not None and not place.is_dir() and (runs_dir / place / "record.json").is_file():
        place = runs_dir / place
    if (place.parent / "record.json").is_file() and place.name == "model":
        place = place.resolve().parent
    if (place / "record.json").is_file() and not (place / "config.json").is_file():
        return RunDirectory(place.parent, place.name)
    return None


def _best_of(name: str, runs_dir: Path) -> RunDirectory:
    """The first run with weights of the best row of a study."""
    places = [path.parent for path in sorted(runs_dir.glob("studies/*/study.json"))]
    found = [place for place in places if place.name == name or place.name.startswith(f"{name}-")]
    if len(found) != 1:
        those = ", ".join(STUDY + place.name for place in found or places) or "none"
        raise UserError(f"{STUDY}{name} names {len(found) or 'no'} studies in {runs_dir}; there are: {those}")
    result = read_result(files_at(runs_dir), f"studies/{found[0].name}")["comparison"]
    best = max(result["rows"], key=lambda row: row["metrics"][result["metric"]]["mean"])
    for record in read_ledger(runs_dir).records:
        run = RunDirectory(runs_dir, record.run_id)
        if record.command in best["commands"] and run.model.is_dir():
            return run
    raise UserError(
        f"{STUDY}{name}: no run of its best row ({best['label']}) kept its weights; make them again with "
        f"`{best['commands'][0]} keep=all --force`"
    )
