"""Texts a second of an encoder in each form that embeds texts: PyTorch in float32 and bf16, ONNX in float32 and int8.

    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python benchmarks/formats.py --encoder minilm-l3

The texts are passages of the embedded data set. Seconds are those of the processor, which other work on the machine
disturbs less than a clock's; with one thread the two are the same on an idle machine. The forms take turns. A line has
the median of the rounds, its ratio to float32, and how the vectors agree with those of float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

from bench.data import DataConfig, load
from bench.use import onnx
from bench.use.embedder import Embedder, TextEmbedder
from bench.use.onnx_embedder import OnnxEmbedder
from bench.use.weights import settings_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="minilm-l3")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    data = load(DataConfig("docstrings"))
    chosen = np.random.default_rng(0).choice(data.corpus_size, options.texts, replace=False)
    texts = [data.passages[passage] for passage in chosen]
    with TemporaryDirectory() as scratch:
        sides = embedders(options.encoder, Path(scratch))
        first = {name: side.vectors(texts, "passage") for name, side in sides.items()}  # also warms up
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, side in sides.items():
                start = process_time()
                side.vectors(texts, "passage")
                seconds[name].append(process_time() - start)
    plain = first["torch fp32"]
    print(f"{'':12}{'texts/s':>9}{'ratio':>7}{'mean cosine':>13}{'lowest':>8}")
    for name, times in seconds.items():
        cosines, ratio = (first[name] * plain).sum(axis=1), median(seconds["torch fp32"]) / median(times)
        rate = options.texts / median(times)
        print(f"{name:12}{rate:9.1f}{ratio:7.2f}{cosines.mean():13.4f}{cosines.min():8.4f}")


def embedders(encoder: str, scratch: Path) -> dict[str, TextEmbedder]:
    """The encoder in each form, by its name."""
    settings = settings_of(encoder)
    plain = Embedder.load(settings, "cpu", "fp32")
    sides: dict[str, TextEmbedder] = {"torch fp32": plain, "torch bf16": Embedder.load(settings, "cpu", "bf16")}
    onnx.write(plain.encoder, scratch)
    sides["onnx fp32"] = OnnxEmbedder.load(scratch)
    onnx.quantise(scratch)  # the session above holds what it needs
    return {**sides, "onnx int8": OnnxEmbedder.load(scratch)}


if __name__ == "__main__":
    main()
