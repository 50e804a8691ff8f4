"""The published form of finished runs: all that reports and comparisons read, and no text and no weight."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from bench.record.archive import archive
from bench.record.files import NUMBERS, FileError, RecordFiles
from bench.record.record import Record
from bench.record.study import read_result

STUDY = ("study.json", "trials.parquet", "searched.txt")
_EVENT = ("step", *NUMBERS)


Damage = list[tuple[Path, str]]


Items = Literal["all", "headline", "none"]
"""Which values of single items are packed: those of all metrics, those of the evaluation's headline, or none."""


def pack(
    files: RecordFiles, records: Iterable[Record], studies: Iterable[str] = (), items: Items = "all"
) -> tuple[bytes, Damage]:
    """The archive of ``records``, which lie in ``files``, and of ``studies`` by the names of their directories.

    Of each run it holds ``record.json`` without the directory of its runs, of the per-item file the columns of numbers
    (ids, ranks, metrics; exactly as they are) that ``items`` asks for, and of ``history.jsonl`` the loss, two
    similarities and the dev metrics. It mirrors a directory of runs. The same runs give the same bytes. A damaged file
    is left out, and returned beside the archive with the reason.
    """
    runs = sorted(records, key=lambda record: record.run_id)
    kept: dict[str, bytes] = {}  # files of one kind beside each other: they are alike, and compress together
    for record in runs:
        kept[f"{record.run_id}/record.json"] = _anywhere(record).to_json().encode()
    damaged: Damage = []
    for record in runs:
        try:
            history = files.history(record.run_id)
        except FileError as error:
            damaged.append((error.path, error.why))
            continue
        if events := [event for event in map(_event, history) if len(event) > 1]:
            lines = (json.dumps(event, separators=(",", ":")) for event in events)
            kept[f"{record.run_id}/history.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    for record in runs if items != "none" else ():
        schema = record.evaluation_schema
        name = f"{record.run_id}/{schema.items_file}"
        try:
            kept[name] = _numbers(files, name, [schema.item, schema.headline] if items == "headline" else None)
        except FileNotFoundError:
            continue
        except FileError as error:
            damaged.append((error.path, error.why))
    for study in sorted(studies):
        for part in STUDY:
            name = f"studies/{study}/{part}"
            with suppress(FileNotFoundError):
                kept[name] = files.read(name)
    return archive(kept), damaged


def _anywhere(record: Record) -> Record:
    """The record without the directory of its runs, which is a place of the machine that made it."""
    if "runs_dir" not in record.config:
        return record
    return replace(record, config={**record.config, "runs_dir": "runs"})


def complete_studies(files: RecordFiles, commands: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Of the studies in ``files``: the names of those whose final runs are all among ``commands``; and of those of
    which only some are, the commands that are missing.
    """
    there = set(commands)
    complete: list[str] = []
    partial: dict[str, list[str]] = {}
    for name, finals in final_runs(files).items():
        missing = [command for command in finals if command not in there]
        if not missing:
            complete.append(name)
        elif len(missing) < len(finals):
            partial[name] = missing
    return complete, partial


def final_runs(files: RecordFiles) -> dict[str, list[str]]:
    """The commands of the final runs of every study in ``files`` that can be read, by its name."""
    found: dict[str, list[str]] = {}
    for name in files.names("studies/*/study.json"):
        study = name.split("/")[1]
        with suppress(FileError):
            rows = read_result(files, f"studies/{study}")["comparison"]["rows"]
            found[study] = [command for row in rows for command in row["commands"]]
    return found


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    """What learning curves are drawn from."""
    if "step" not in event:
        return {}
    return {name: value for name, value in event.items() if name in _EVENT or name.startswith("dev/")}


def _numbers(files: RecordFiles, name: str, wanted: Sequence[str] | None) -> bytes:
    """The columns of numbers of a per-item file (those ``wanted``; None: all), as a file of its own.

    It is not compressed, since the archive is: runs that were asked the same repeat each other. Raises
    ``FileNotFoundError`` where there is none, and :class:`FileError` for a damaged one.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = files.table(name, wanted)
    numeric = [f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    kept = io.BytesIO()
    plain = table.select(numeric).replace_schema_metadata(None)
    parquet.write_table(plain, kept, compression="none", write_statistics=False, store_schema=False)
    return kept.getvalue()
