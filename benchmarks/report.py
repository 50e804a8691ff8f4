"""How long a report of many records takes: one finished run, multiplied under other names.

    python benchmarks/report.py --run runs/in_batch-medquad-s1-8c84c7be --scratch DIR

Data sets x strategies x seeds make the number of records; each has the run's files, and metrics that differ a little.
Prints the seconds of reading, and of the report (comparisons, figures, Markdown, HTML).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from time import perf_counter
from typing import Any

DATA, STRATEGIES = 10, 20


def multiply(run: Path, into: Path, records: int) -> None:
    """``records`` run directories under ``into``: hard links to the files of ``run``, and records of their own."""
    told: dict[str, Any] = json.loads((run / "record.json").read_text())
    for number in range(records):
        seed, rest = divmod(number, DATA * STRATEGIES)
        data, strategy = divmod(rest, STRATEGIES)
        name = f"strategy_{strategy}-data_{data}-s{seed}"
        metrics = {key: value + strategy / 10 + seed / 100 for key, value in told["metrics"].items()}
        changed = {
            "run_id": name,
            "strategy": f"strategy_{strategy}",
            "seed": seed,
            "data": {**told["data"], "name": f"data_{data}", "fingerprint": f"{data:064d}"},
            "metrics": metrics,
        }
        (into / name).mkdir(parents=True)
        (into / name / "record.json").write_text(json.dumps({**told, **changed}))
        for file in ("ranks.parquet", "history.jsonl"):
            os.link(run / file, into / name / file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="directory of a finished run")
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--scratch", type=Path, required=True, help="on the file system of the run")
    given = parser.parse_args()
    runs = given.scratch / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    multiply(given.run, runs, given.records)

    began = perf_counter()
    from bench.record.ledger import read
    from reports.report import write

    imported = perf_counter()
    ledger = read(runs)
    known = perf_counter()
    page = write(ledger, runs, given.scratch / "report")
    done = perf_counter()
    figures = len(list((page.parent / "figures").glob("*.svg")))
    print(
        f"{len(ledger.records)} records, {figures} figures: importing {imported - began:.1f} s, reading "
        f"{known - imported:.1f} s, reporting {done - known:.1f} s, in all {done - began:.1f} s"
    )


if __name__ == "__main__":
    main()
