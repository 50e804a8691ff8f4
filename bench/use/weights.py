"""From a run, a directory or a name to the settings of an encoder that is to be used."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.described import read
from bench.record.record import Record
from bench.record.store import RunDirectory
from bench.setting import place_named


def settings_of(encoder: str | Path | EncoderConfig, runs_dir: Path | None = None) -> EncoderConfig:
    """The settings that belong to an encoder's weights.

    ``encoder`` is a run's directory or its ``model/``, the id of a run in ``runs_dir``, any encoder's directory, a
    preset or a hub id. Raises :class:`UserError` for a broken record and for a run that kept no weights.
    """
    if isinstance(encoder, EncoderConfig):
        return encoder
    place = place_named(encoder)
    if runs_dir is not None and not place.is_dir() and (runs_dir / place / "record.json").is_file():
        place = runs_dir / place
    for run, model in ((place, place / "model"), (place.parent, place)):
        if model.is_dir() and (run / "record.json").is_file():
            recorded = Record.from_json((run / "record.json").read_text(encoding="utf-8"), run / "record.json").encoder
            known = {f.name for f in fields(EncoderConfig)} & recorded.keys()
            # The layers were chosen when the weights were saved.
            return EncoderConfig(**{**{name: recorded[name] for name in known}, "name": str(model), "layers": None})
    if (place / "record.json").is_file() and not (place / "config.json").is_file():
        raise UserError(RunDirectory(place.parent, place.name).without_weights())
    if place.is_dir():
        told = read(place)  # a use of an encoder is not bound to the lengths of experiments
        longest = None if told.own else told.max_tokens
        return EncoderConfig(str(place), max_query_tokens=longest, max_passage_tokens=longest)
    return EncoderConfig(str(encoder))
