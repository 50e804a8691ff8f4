"""Everything that is measured on a GPU, by one command and in a given time; the result is one file of JSON.

    python benchmarks/gpu.py --out gpu.json                      # at most 480 s
    python benchmarks/gpu.py --device cpu --tiny --out gpu.json  # shows that the script works; measures nothing

Parts: the gpu group of the tests; the rate of bf16 matrix products; for a BERT-base with random weights and the texts
of ``--data``, encoding (packed and padded) and training (with and without gradient cache), here and by
sentence-transformers where it is installed; exact search and mining of 1,000,000 vectors of 768 dimensions; the runs
of ``make demo``. Each part gets its share of the time left, and is stopped when that is over. The file is written
after each part, and says what was skipped and why. ``share`` is the part of the measured rate of square products.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic, time
from typing import Any

from gpu_case import Row
from gpu_parts import PARTS

from bench.atomic import write_atomic
from bench.record.environment import environment

PACKAGES = ("sentence-transformers", "faiss-gpu", "faiss-gpu-cu12", "triton")


class Worker:
    """A process that runs parts one after the other; a fresh one follows where it was stopped or something failed."""

    def __init__(self, args: argparse.Namespace, scratch: str) -> None:
        self.args, self.scratch = args, scratch
        self.process: subprocess.Popen[str] | None = None

    def rows(self, part: str, seconds: float) -> list[Row]:
        """The rows of one part, which is stopped after so many seconds; what it measured until then is kept."""
        args, until, rows, ended = self.args, time() + seconds, [], False
        stopped = threading.Event()
        told = {"device": args.device, "tiny": args.tiny, "data": args.data, "scratch": self.scratch, "until": until}
        process = self.process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None

        def stop() -> None:
            stopped.set()
            process.kill()

        timer = threading.Timer(seconds + 2, stop)
        timer.start()
        try:
            process.stdin.write(json.dumps([part, told]) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                ended = line == "END\n"
                if ended:
                    break
                if line.startswith("ROW "):
                    rows.append(json.loads(line[4:]))
                    print(f"{part}: {told_of(rows[-1])}", file=sys.stderr)
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
        if stopped.is_set():
            rows.append({"case": "the rest", "skipped": f"stopped after {seconds:.0f} s, its share of the time"})
        elif not ended:
            rows.append({"case": "the rest", "failed": f"the process ended with status {process.wait()}"})
        if not ended or any("failed" in row for row in rows):
            self.close()
        return rows

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("gpu_parts.py"))]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def told_of(row: Row) -> str:
    """One line of a row."""
    figures = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items() if k not in ("case", "output")}
    return f"{row['case']}: {', '.join(f'{name}={value}' for name, value in figures.items())}"


def with_shares(parts: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows with the share of the measured rate beside each ``tflops`` of encoding and training."""
    rate = next((row["tflops"] for row in parts.get("products", []) if "tflops" in row), None)
    if rate is None:
        return parts
    told = {"encoding", "training"}
    return {
        part: [{**row, "share": row["tflops"] / rate} if part in told and "tflops" in row else row for row in rows]
        for part, rows in parts.items()
    }


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=480, help="for everything together")
    parser.add_argument("--data", default="docstrings", help="a data set by its name or directory")
    parser.add_argument("--parts", default=",".join(PARTS), help="which ones, separated by commas")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and little work: a test of this script")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    wanted = args.parts.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}; it takes {','.join(PARTS)}")
    import torch

    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {args.device}, but torch finds no CUDA GPU here; --device cpu --tiny tries the script")
    end = monotonic() + args.seconds - 4  # for the processes to end
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": args.device,
        "tiny": args.tiny,
        "environment": environment(args.device),
        "versions": versions(),
        "seconds": args.seconds,
    }
    parts: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as scratch, closing(Worker(args, scratch)) as worker:
        for part in ("models", *(name for name in PARTS if name in wanted)):
            weights = [PARTS[name][1] for name in wanted if name not in parts]
            left = end - monotonic()
            share = left / 3 if part == "models" else left * PARTS[part][1] / sum(weights)
            if share < 1:
                parts[part] = [{"case": part, "skipped": "no time left"}]
            else:
                parts[part] = worker.rows(part, share)
            write_atomic(args.out, (json.dumps({**result, "parts": with_shares(parts)}, indent=2) + "\n").encode())
    skipped = [f"{part}: {told_of(row)}" for part, rows in parts.items() for row in rows if "skipped" in row]
    failed = [f"{part}: {told_of(row)}" for part, rows in parts.items() for row in rows if "failed" in row]
    print(f"{args.out}: {len(skipped)} cases skipped, {len(failed)} failed")
    for line in (*skipped, *failed):
        print(f"  {line}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
