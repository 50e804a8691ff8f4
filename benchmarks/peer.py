"""Throughput of this engine and of sentence-transformers on the same work, one process after the other.

    pip install -e ".[peers]"
    python benchmarks/peer.py --encoder ../shared/models/zh_e5_small_4l --data ../shared/data/classical_modern

Both sides train the same encoder on the same pairs with the same loss (MNR, scale 20), batch, lengths and
precision for one epoch, then encode the same texts, tokenising included, and search the same small corpus
exactly. The two sides take turns, each in a fresh process; medians and their ratio are printed. With --busy each
round is run a second time beside a process that takes a core, and a second table says what is left.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.model.encoder import Encoder

SKIPPED = 5  # first steps, not timed: the allocator and the kernels warm up


def ours(args: argparse.Namespace, work: Work) -> dict[str, float]:
    times: list[float] = []
    encoder = train_ours(args, work, lambda: times.append(perf_counter()))
    start = perf_counter()
    vectors = encode_ours(args, work, encoder)
    return work.result(times, args.batch, perf_counter() - start, vectors)


def train_ours(args: argparse.Namespace, work: Work, after_step: Callable[[], None]) -> Encoder:
    """The encoder after one epoch over the pairs."""
    from bench.data import tokenize
    from bench.data.pairs import Pairs
    from bench.model.config import EncoderConfig
    from bench.model.precision import resolve_device
    from bench.model.presets import build
    from bench.negatives import NegativeSampler
    from bench.train.config import TrainConfig
    from bench.train.examples import PairExamples
    from bench.train.learner import Learner
    from bench.train.step import Objective
    from bench.train.trainer import Conditions, Hooks, Trainer
    from strategies import registered

    encoder = build(
        EncoderConfig(args.encoder, "mean", max_query_tokens=args.tokens, max_passage_tokens=args.tokens),
        [],
        resolve_device(args.device),
        args.seed,
    )
    data = work.data
    queries, passages = (tokenize(t, encoder.tokenizer, args.tokens) for t in (data.queries, data.passages))
    strategy, pairs = registered()["mnr"](), Pairs.of(data)
    scratch = Path(tempfile.mkdtemp(dir=args.scratch))  # not one that holds the state of the round before
    trainer = Trainer(
        Learner(encoder),
        Objective(strategy, PairExamples(pairs, queries, passages), NegativeSampler()),
        TrainConfig(batch_size=args.batch, lr=2e-5, weight_decay=0.0, eval_every=0, save_every=10**6),
        Conditions(args.seed, args.precision, scratch),
        Hooks(progress=lambda *_: after_step()),
    )
    trainer.fit()
    return encoder


def encode_ours(args: argparse.Namespace, work: Work, encoder: Encoder) -> Any:
    """The vectors of the texts, tokenising included."""
    from bench.data import tokenize
    from bench.model.embedding import encode

    return encode(encoder, tokenize(work.texts, encoder.tokenizer, args.tokens), args.precision)


def peer(args: argparse.Namespace, work: Work) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        models,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    torch.manual_seed(args.seed)
    device = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
    tower = models.Transformer(args.encoder, max_seq_length=args.tokens)
    pooling = models.Pooling(tower.get_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[tower, pooling, models.Normalize()], device=device)
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(perf_counter())

    pairs = work.pairs()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=args.scratch,
        num_train_epochs=1,
        per_device_train_batch_size=args.batch,
        learning_rate=2e-5,
        warmup_steps=0.1,
        bf16=args.precision == "bf16",
        use_cpu=device == "cpu",
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        seed=args.seed,
    )
    SentenceTransformerTrainer(
        model=model,
        args=arguments,
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[Clock()],
        train_dataset=Dataset.from_dict({"anchor": [q for q, _ in pairs], "positive": [p for _, p in pairs]}),
    ).train()
    start = perf_counter()
    # Autocast rather than bf16 weights: what its own trainer does, and what we compare with.
    with torch.autocast(device, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
        vectors = model.encode(work.texts, batch_size=args.encode_batch)
    return work.result(times, args.batch, perf_counter() - start, vectors)


class Work:
    """The pairs, the texts to encode (a small corpus, then dev queries) and how well they are found."""

    def __init__(self, args: argparse.Namespace) -> None:
        from bench.data import DataConfig, load
        from bench.data.subset import subset_split

        self.data = load(DataConfig(args.data, max_train=args.pairs))
        self.split, kept = subset_split(self.data.splits["dev"], args.queries, args.corpus, self.data.corpus_size)
        self.corpus = [self.data.passages[p] for p in kept]
        self.texts = self.corpus + [self.data.queries[q] for q in self.split.queries]

    def pairs(self) -> list[tuple[str, str]]:
        train = self.data.splits["train"]
        rows = ((q, p) for q, row in zip(train.queries, range(len(train)), strict=True) for p in train.relevant[row])
        return [(self.data.queries[q], self.data.passages[p]) for q, p in rows]

    def result(self, times: list[float], batch: int, seconds: float, vectors: Any) -> dict[str, float]:
        import numpy as np

        from bench.evaluate import EvalConfig, evaluate
        from bench.search import IndexConfig

        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        corpus, queries = vectors[: len(self.corpus)], vectors[len(self.corpus) :]
        metrics = evaluate(queries, corpus, self.split, {}, EvalConfig(), IndexConfig(), by_index=False).metrics
        steps = np.diff(times)[SKIPPED:]
        return {
            "pairs_per_s": batch * len(steps) / float(steps.sum()),
            "median_step_ms": float(np.median(steps)) * 1e3,
            "texts_per_s": len(self.texts) / seconds,
            "recall@1": metrics["exact/recall@1"],
            "recall@10": metrics["exact/recall@10"],
        }


def work_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that say what the work is."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--corpus", type=int, default=10000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", default="runs/benchmark")
    return parser


def main() -> None:
    parser = work_parser(__doc__)
    parser.add_argument("--encode-batch", type=int, default=32, help="the peer's batch when encoding")
    parser.add_argument("--busy", action="store_true", help="also beside a busy process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=("ours", "peer"), help="run one side here and print its figures")
    args = parser.parse_args()
    if args.side:
        print(json.dumps((ours if args.side == "ours" else peer)(args, Work(args))))
        return
    Path(args.scratch).mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(args.rounds):
        for beside in ("idle", "busy") if args.busy else ("idle",):
            for side in ("ours", "peer"):
                with busy() if beside == "busy" else nullcontext():
                    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                result = json.loads(done.stdout.strip().splitlines()[-1])
                found.setdefault((side, beside), []).append(result)
                print(f"round {number + 1} {beside} {side}: {result}", file=sys.stderr)
    median = {
        key: {name: statistics.median(r[name] for r in results) for name in results[0]}
        for key, results in found.items()
    }
    for beside in ("idle", "busy") if args.busy else ("idle",):
        head = f"{beside}, median of {args.rounds}"
        print(f"{head:<20}{'ours':>10}{'peer':>10}{'ratio':>8}   ({args.precision})")
        for name, mine in median["ours", beside].items():
            theirs = median["peer", beside][name]
            print(f"{name:<20}{mine:>10.1f}{theirs:>10.1f}{mine / theirs:>8.2f}")
    if args.busy:
        print(f"{'busy / idle':<20}{'ours':>10}{'peer':>10}")
        for name in ("pairs_per_s", "texts_per_s"):
            left = (median[side, "busy"][name] / median[side, "idle"][name] for side in ("ours", "peer"))
            print(f"{name:<20}" + "".join(f"{share:>10.2f}" for share in left))


@contextmanager
def busy() -> Iterator[None]:
    """A process that takes a core within the block."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
