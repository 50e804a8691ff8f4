"""Counters and histograms in the text format of Prometheus, by the names of text-embeddings-inference.

The format is a page of text, and the usual client library does not allow a counter without ``_total`` in its name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
COUNTS = tuple(float(2**power) for power in range(15))

COUNTERS = {
    "te_request_count": "Requests, by the route.",
    "te_request_success": "Requests that were answered, by the route.",
    "te_request_failure": "Requests that were refused, by the kind of error; Left is a client that left.",
}
HISTOGRAMS = {
    "te_request_duration": ("Seconds from a request to its answer.", SECONDS),
    "te_request_queue_duration": ("Seconds that a request waited for its batch.", SECONDS),
    "te_request_inference_duration": ("Seconds in which the batch of a request was encoded.", SECONDS),
    "te_request_input_length": ("Tokens of a request.", COUNTS),
    "te_batch_next_size": ("Requests of a batch.", COUNTS),
    "te_batch_next_tokens": ("Tokens of a batch.", COUNTS),
}


class Metrics:
    """What a server counts. Only one thread may use it."""

    def __init__(self) -> None:
        self._counts: dict[str, defaultdict[str, int]] = {name: defaultdict(int) for name in COUNTERS}
        self._buckets = {name: [0] * (len(bounds) + 1) for name, (_, bounds) in HISTOGRAMS.items()}
        self._sums = dict.fromkeys(HISTOGRAMS, 0.0)

    def count(self, name: str, label: str) -> None:
        """One more of counter ``name``, such as ``count("te_request_count", 'method="embed"')``."""
        self._counts[name][label] += 1

    def observe(self, name: str, value: float) -> None:
        """One more value of a histogram."""
        self._buckets[name][bisect_left(HISTOGRAMS[name][1], value)] += 1
        self._sums[name] += value

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All of it, and ``gauges``: what each is and its value, by name."""
        lines = []
        for name, what in COUNTERS.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} counter"]
            lines += [f"{name}{{{label}}} {count}" for label, count in self._counts[name].items()]
        for name, (what, bounds) in HISTOGRAMS.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} histogram"]
            counts = list(accumulate(self._buckets[name]))
            edges = [*map(str, bounds), "+Inf"]
            lines += [f'{name}_bucket{{le="{edge}"}} {count}' for edge, count in zip(edges, counts, strict=True)]
            lines += [f"{name}_sum {self._sums[name]}", f"{name}_count {counts[-1]}"]
        for name, (what, value) in gauges.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "".join(f"{line}\n" for line in lines)
