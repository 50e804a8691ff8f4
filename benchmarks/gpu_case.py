"""What the measurements on a GPU share: their setting, and the row of one case."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter, time
from typing import Any

import torch

from bench.data import DataSet
from bench.data.pairs import Pairs
from bench.model.config import EncoderConfig
from bench.model.encoder import Encoder
from bench.phases import peak_memory_mb, reset_peak_memory

NEEDS_CUDA = "needs a CUDA GPU"
TOKENS = 128  # of a text at most
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What all parts share. ``until`` is the time (seconds since 1970) when the part has to be done."""

    device: str
    tiny: bool
    data: str
    scratch: Path
    until: float

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.until - time()

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def model(self, dropout: float) -> Path:
        """The directory of the random BERT with this dropout of attention probabilities."""
        return self.scratch / f"bert-dropout-{dropout}"

    @cached_property
    def texts(self) -> DataSet:
        from bench.data import DataConfig, load

        return load(DataConfig(self.data, max_train=48 if self.tiny else None))

    def pairs(self) -> Pairs:
        return Pairs.of(self.texts)

    def encoder(self, dropout: float) -> Encoder:
        from bench.model.presets import build

        config = EncoderConfig(str(self.model(dropout)), "mean", max_query_tokens=TOKENS, max_passage_tokens=TOKENS)
        return build(config, [], torch.device(self.device), 1)


def case(setting: Setting, name: str, seconds: float, measure: Callable[[], Row], memory: bool = True) -> Row:
    """The row of one case, which takes about so many seconds; with ``memory`` its peak is added.

    On a GPU that is what torch allocated, what the part keeps for its cases (encoders, vectors) included.
    """
    if setting.left < seconds:
        return {"case": name, "skipped": f"no time left: about {seconds:.0f} s needed, {max(setting.left, 0):.0f} left"}
    gc.collect()
    if setting.cuda:
        torch.cuda.empty_cache()
    reset_peak_memory(setting.device)
    start = perf_counter()
    try:
        row = {"case": name, **measure()}
    except torch.OutOfMemoryError:
        return {"case": name, "failed": "out of memory"}
    except Exception as error:
        return {"case": name, "failed": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"}
    held = {"peak_memory_mb": peak_memory_mb(setting.device)} if memory else {}
    return {**row, **held, "took_s": perf_counter() - start}


def best(setting: Setting, work: Callable[[], Any], rounds: int, times: int = 1) -> float:
    """Seconds of one ``work``: the shortest of some rounds of so many times each, after one round to warm up."""
    found = []
    for _ in range(rounds + 1):
        setting.wait()
        start = perf_counter()
        for _ in range(times):
            work()
        setting.wait()
        found.append((perf_counter() - start) / times)
    return min(found[1:])
