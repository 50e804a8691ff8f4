"""The published form of finished runs: all that reports and comparisons read, and no text and no weight."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bench.errors import UserError
from bench.record.archive import archive
from bench.record.files import RecordFiles
from bench.record.record import Record

STUDY = ("study.json", "trials.parquet", "searched.txt")
_EVENT = ("step", "loss", "positive_similarity", "hardest_similarity")  # and all of dev/...


def pack(files: RecordFiles, records: Iterable[Record], studies: Iterable[str] = ()) -> bytes:
    """The archive of ``records``, which lie in ``files``, and of ``studies`` by the names of their directories.

    Of each run it holds ``record.json``, of the per-item file the columns of numbers (ids, ranks, metrics; exactly as
    they are), and of ``history.jsonl`` the loss, two similarities and the dev metrics. It mirrors a directory of runs.
    The same runs give the same bytes. Raises :class:`UserError` for a file that is broken.
    """
    runs = sorted(records, key=lambda record: record.run_id)
    kept: dict[str, bytes] = {}  # files of one kind beside each other: they are alike, and compress together
    for record in runs:
        kept[f"{record.run_id}/record.json"] = record.to_json().encode()
    for record in runs:
        if events := [event for event in map(_event, files.history(record.run_id)) if len(event) > 1]:
            lines = (json.dumps(event, separators=(",", ":")) for event in events)
            kept[f"{record.run_id}/history.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    for record in runs:
        name = f"{record.run_id}/{record.evaluation_schema.items_file}"
        if (numbers := _numbers(files, name)) is not None:
            kept[name] = numbers
    for study in sorted(studies):
        for part in STUDY:
            name = f"studies/{study}/{part}"
            with suppress(FileNotFoundError):
                kept[name] = files.read(name)
    return archive(kept)


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
        try:
            rows: Sequence[Mapping[str, Any]] = json.loads(files.read(name))["comparison"]["rows"]
            found[name.split("/")[1]] = [command for row in rows for command in row["commands"]]
        except (ValueError, KeyError, TypeError, OSError):
            continue
    return found


def _event(event: Any) -> dict[str, Any]:
    """What learning curves are drawn from."""
    if not isinstance(event, dict) or "step" not in event:
        return {}
    return {name: value for name, value in event.items() if name in _EVENT or name.startswith("dev/")}


def _numbers(files: RecordFiles, name: str) -> bytes | None:
    """The columns of numbers of a per-item file, as a file of its own; None where there is none.

    It is not compressed, since the archive is: runs that were asked the same repeat each other.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(files.source(name))
        numeric = [f.name for f in file.schema_arrow if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
        table = file.read(columns=numeric, use_threads=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{files.root / name} cannot be packed ({error})") from error
    kept = io.BytesIO()
    plain = table.replace_schema_metadata(None)
    parquet.write_table(plain, kept, compression="none", write_statistics=False, store_schema=False)
    return kept.getvalue()
