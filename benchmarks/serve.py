"""Throughput and latency of ``bench serve`` on this machine, with dynamic batching and without it.

    OMP_NUM_THREADS=1 python benchmarks/serve.py

``--clients`` send one short text after the other for ``--seconds``, each text another one, and each client over its own
connection. Two servers run, one of which encodes each request alone. They take turns for ``--rounds``; clients run in
this process, so that they share the processor with the servers. Printed are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
from itertools import count
from time import perf_counter

SIDES = {"batching": [], "alone": ["--max-batch-tokens", "1"]}
NUMBERS = count()


def start(encoder: str, words: list[str]) -> tuple[subprocess.Popen[str], int]:
    """A server and its port."""
    command = [sys.executable, "-m", "bench", "serve", encoder, "--port", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.match(r"http://[^:]+:(\d+)", line):
            return process, int(found[1])
    raise SystemExit(f"{' '.join(command)} ended with status {process.wait()}")


async def client(port: int, until: float, took: list[float]) -> None:
    """Ask until the time is over, and note the seconds of each answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (begin := perf_counter()) < until:
        body = json.dumps({"inputs": f"which layer normalises its input number {next(NUMBERS)}"}).encode()
        head = f"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", told, re.IGNORECASE)
        if not told.startswith("HTTP/1.1 200") or length is None:
            raise SystemExit(told)
        await reader.readexactly(int(length[1]))
        took.append(perf_counter() - begin)
    writer.close()


async def load(port: int, clients: int, seconds: float) -> tuple[float, float, float]:
    """Texts a second, and the median and the 99th percentile of the milliseconds."""
    took: list[float] = []
    begin = perf_counter()
    await asyncio.gather(*(client(port, begin + seconds, took) for _ in range(clients)))
    spent = perf_counter() - begin
    took.sort()
    return len(took) / spent, 1000 * statistics.median(took), 1000 * took[min(len(took) - 1, int(0.99 * len(took)))]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--encoder", default="minilm-l3")
    options.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    servers = {side: start(args.encoder, words) for side, words in SIDES.items()}
    try:
        found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        for _, port in servers.values():
            asyncio.run(load(port, 2, 1))  # the first answers take longer
        for _ in range(args.rounds):
            for clients in args.clients:
                for side, (_, port) in servers.items():
                    found.setdefault((side, clients), []).append(asyncio.run(load(port, clients, args.seconds)))
    finally:
        for process, _ in servers.values():
            process.terminate()
    print(f"{'':10} {'clients':>7} {'texts/s':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for (side, clients), rounds in sorted(found.items(), key=lambda item: item[0][1]):
        rate, middle, late = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{side:10} {clients:7} {rate:8.0f} {middle:8.1f} {late:8.1f}")


if __name__ == "__main__":
    main()
