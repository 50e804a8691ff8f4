"""The measurements of ``gpu.py``: each part is a generator of rows, dicts with a ``case`` and its figures.

A case that does not fit into the time left, needs what is not there, or does not fit into memory has ``skipped`` or
``failed`` with the reason, and no figure.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter, time
from typing import Any

import numpy as np
import torch

from bench.data import DataSet, tokenize
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.model.config import EncoderConfig
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.record.environment import peak_memory_mb, reset_peak_memory

ROOT = Path(__file__).parents[1]
NEEDS_CUDA = "needs a CUDA GPU"
TOKENS, CHUNK = 128, 512  # of a text at most; texts that the gradient cache holds at once
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


def _apart(setting: Setting, command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command's result; it has the time that is left."""
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=max(setting.left, 1)
    )


def write_models(setting: Setting) -> Row:
    """Write the random BERT twice, without and with dropout of attention, and say whose tokens it has."""
    from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerBase

    from bench.errors import UserError
    from bench.model.presets import locate
    from bench.model.scratch import word_piece

    tokenizer: PreTrainedTokenizerBase
    try:
        if setting.tiny:
            raise UserError("a small one is learnt")
        tokenizer, whose = AutoTokenizer.from_pretrained(locate("minilm")), "minilm"
    except UserError:
        tokenizer, whose = word_piece(setting.texts.passages, 300 if setting.tiny else 30_522), "learnt from the data"
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    for dropout in (0.0, 0.1):
        config = BertConfig(
            vocab_size=len(tokenizer), attention_probs_dropout_prob=dropout, **(small if setting.tiny else {})
        )
        BertModel(config).save_pretrained(setting.model(dropout))
        tokenizer.save_pretrained(setting.model(dropout))
    return {
        "tokenizer": whose,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "data": setting.texts.name,
    }


def tests(setting: Setting) -> Iterator[Row]:
    """The gpu group of the test suite."""
    if not setting.cuda:
        yield {"case": "pytest -m gpu", "skipped": NEEDS_CUDA}
        return
    files = [str(path) for path in sorted((ROOT / "tests").glob("test_*.py")) if "mark.gpu" in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *files]

    def measure() -> Row:
        done = _apart(setting, command)
        lines = done.stdout.strip().splitlines()
        wrong = {"failed": f"exit status {done.returncode}"} if done.returncode else {}
        return {**wrong, "summary": lines[-1] if lines else "", "output": lines[-12:]}

    yield case(setting, "pytest -m gpu", 20, measure, memory=False)


def products(setting: Setting) -> Iterator[Row]:
    """The rate of bf16 matrix products: square ones, and those of the model's feed-forward layers."""
    shapes = [(8192, 8192, 8192), (131_072, 768, 3072), (131_072, 3072, 768)]
    if setting.tiny:
        shapes = [(128, 128, 128), (256, 32, 64)]
    for rows, inner, columns in shapes:

        def measure(rows: int = rows, inner: int = inner, columns: int = columns) -> Row:
            left, right = (
                torch.randn(shape, device=setting.device, dtype=torch.bfloat16)
                for shape in ((rows, inner), (inner, columns))
            )
            seconds = best(setting, lambda: left @ right, rounds=5, times=10)
            return {"tflops": 2 * rows * inner * columns / seconds / 1e12}

        yield case(setting, f"{rows} x {inner} x {columns}", 2, measure)


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


def flop(encoder: Encoder, lengths: np.ndarray) -> float:
    """Operations of the matrix products of one forward pass over texts of these lengths, padding not counted."""
    config = encoder.transformer.config
    hidden, layers = config.hidden_size, config.num_hidden_layers
    linear = 2 * layers * (4 * hidden**2 + 2 * hidden * config.intermediate_size)
    return float(linear * lengths.sum() + 4 * layers * hidden * (lengths.astype(np.float64) ** 2).sum())


def encoding(setting: Setting) -> Iterator[Row]:
    """All passages of the data: packed by the kernel, padded, and by sentence-transformers, which pads."""
    texts = list(dict.fromkeys(setting.texts.passages))[: 64 if setting.tiny else 20_000]
    encoder = setting.encoder(0.1)
    tokens = tokenize(texts, encoder.tokenizer, TOKENS)
    work = flop(encoder, tokens.lengths)
    rounds = 1 if setting.tiny else 3

    def ours() -> Row:
        alone = best(setting, lambda: encode(encoder, tokens, "bf16"), rounds)
        whole = best(setting, lambda: encode(encoder, tokenize(texts, encoder.tokenizer, TOKENS), "bf16"), rounds)
        rate = len(texts) / np.array([whole, alone])
        return {
            "texts_per_s": rate[0],
            "texts_per_s_without_tokenising": rate[1],
            "tflops": work / alone / 1e12,
            "mean_tokens": float(tokens.lengths.mean()),
        }

    def peer() -> Row:
        model = peer_model(setting, 0.1)

        def run() -> None:
            with torch.autocast(torch.device(setting.device).type, dtype=torch.bfloat16):
                model.encode(texts, batch_size=256)

        return {"texts_per_s": len(texts) / best(setting, run, rounds)}

    if encoder.varlen is None:
        reason = NEEDS_CUDA if not setting.cuda else "the trial of the encoder did not allow packing"
        yield {"case": "packed", "skipped": reason}
    else:
        yield case(setting, "packed", 10, ours)
    packs, encoder.packs = encoder.packs, False
    attention = encoder.transformer.config._attn_implementation
    if encoder.varlen is None:
        encoder.transformer.set_attn_implementation("sdpa")
    yield case(setting, "padded", 10, ours)
    encoder.packs = packs
    encoder.transformer.set_attn_implementation(attention)
    yield by_peer(setting, "sentence-transformers", 15, peer)


def by_peer(setting: Setting, name: str, seconds: float, measure: Callable[[], Row]) -> Row:
    """The row of a case of sentence-transformers, skipped where that is not installed."""
    try:
        import sentence_transformers  # noqa: F401
    except ImportError:
        return {"case": name, "skipped": "sentence-transformers is not installed (extra peers)"}
    return case(setting, name, seconds, measure)


def peer_model(setting: Setting, dropout: float) -> Any:
    from sentence_transformers import SentenceTransformer, models

    tower = models.Transformer(str(setting.model(dropout)), max_seq_length=TOKENS)
    pooling = models.Pooling(tower.get_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[tower, pooling, models.Normalize()], device=setting.device)


class _Enough(Exception):
    """The steps wanted are done."""


@dataclass
class Clock:
    """Times of steps. ``tick`` raises when ``steps`` are done or the time is over."""

    setting: Setting
    steps: int

    def __post_init__(self) -> None:
        self.times: list[float] = []

    def tick(self) -> bool:
        """Note the end of a step; whether it was the last."""
        self.setting.wait()
        self.times.append(perf_counter())
        return len(self.times) >= self.steps or (len(self.times) > 3 and self.setting.left < 2)

    def median(self) -> float:
        """Seconds of a step, the first one left out. Raises where there was none but that."""
        if len(self.times) < 3:
            raise RuntimeError("too few steps")
        return float(np.median(np.diff(self.times[1:] if len(self.times) > 3 else self.times)))


def training(setting: Setting) -> Iterator[Row]:
    """Steps on the data's pairs with the multiple negatives loss (MNR): this engine and sentence-transformers.

    Without dropout of attention this engine packs; with BERT's own 0.1 it pads. With a gradient cache, ``micro_batch``
    bounds the texts held at once; its second forward pass is not counted as work done.
    """
    pairs, sizes = setting.pairs(), [256, 1024, 4096, 64]
    if setting.tiny:
        sizes = [8, 16]
    encoders = {dropout: setting.encoder(dropout) for dropout in (0.0, 0.1)}
    tokenizer = encoders[0.0].tokenizer
    queries, passages = (
        tokenize(texts, tokenizer, TOKENS) for texts in (setting.texts.queries, setting.texts.passages)
    )
    lengths = np.concatenate([queries.lengths[pairs.query], passages.lengths[pairs.positive]])
    a_pair = 3 * flop(encoders[0.0], lengths) / len(pairs.query)
    for batch in sizes:
        if batch > len(pairs.query):
            yield {"case": f"batch {batch}", "skipped": f"the data has {len(pairs.query)} pairs"}
            continue
        steps = max(4, min(30, 6000 // batch))
        for cached in (False, True):
            if cached and batch < sizes[1]:
                continue
            for side, dropout in (("ours", 0.0), ("ours", 0.1), ("sentence-transformers", 0.1)):
                micro = (CHUNK if not setting.tiny else 8) if cached else None
                clock = Clock(setting, steps)

                def measure(
                    side: str = side,
                    dropout: float = dropout,
                    batch: int = batch,
                    micro: int | None = micro,
                    clock: Clock = clock,
                ) -> Row:
                    if side == "ours":
                        _train_ours(clock, encoders[dropout], pairs, queries, passages, batch, micro)
                    else:
                        _train_peer(clock, dropout, batch, micro)
                    seconds = clock.median()
                    return {
                        "pairs_per_s": batch / seconds,
                        "median_step_ms": seconds * 1e3,
                        "tflops": batch * a_pair / seconds / 1e12,
                    }

                kept = ", gradient cache" if cached else ""
                name = f"batch {batch}{kept}, attention dropout {dropout}, {side}"
                yield (case if side == "ours" else by_peer)(setting, name, 6, measure)


def _train_ours(
    clock: Clock, encoder: Encoder, pairs: Pairs, queries: Tokens, passages: Tokens, batch: int, micro: int | None
) -> None:
    from bench.negatives import NegativeSampler
    from bench.train.config import TrainConfig
    from bench.train.examples import PairExamples
    from bench.train.learner import Learner
    from bench.train.step import Objective
    from bench.train.trainer import Conditions, Hooks, Trainer
    from strategies import registered

    def progress(*_: Any) -> None:
        if clock.tick():
            raise _Enough  # before the state is written

    place = Path(tempfile.mkdtemp(dir=clock.setting.scratch))
    trainer = Trainer(
        Learner(encoder),
        Objective(registered()["mnr"](), PairExamples(pairs, queries, passages), NegativeSampler()),
        TrainConfig(batch, micro, epochs=10**4, lr=2e-5, weight_decay=0.0, eval_every=0, save_every=10**6),
        Conditions(1, "bf16", place),
        Hooks(progress=progress),
    )
    try:
        trainer.fit()
    except _Enough:
        return


def _train_peer(clock: Clock, dropout: float, batch: int, micro: int | None) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses
    from transformers import TrainerCallback

    class Tick(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = clock.tick()

    setting, model = clock.setting, peer_model(clock.setting, dropout)
    pairs, data = setting.pairs(), setting.texts
    if micro is None:
        loss = losses.MultipleNegativesRankingLoss(model)
    else:  # its mini-batch counts texts of one column, ours texts of both
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=micro // 2)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(setting.scratch / "peer"),
        max_steps=clock.steps,
        per_device_train_batch_size=batch,
        dataloader_drop_last=True,
        learning_rate=2e-5,
        bf16=True,
        use_cpu=not setting.cuda,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        seed=1,
    )
    columns = {
        "anchor": [data.queries[q] for q in pairs.query],
        "positive": [data.passages[p] for p in pairs.positive],
    }
    SentenceTransformerTrainer(
        model=model, args=arguments, loss=loss, callbacks=[Tick()], train_dataset=Dataset.from_dict(columns)
    ).train()


def search(setting: Setting) -> Iterator[Row]:
    """Exact search and mining among 1,000,000 drawn vectors of 768 dimensions; faiss beside it where it is for GPUs."""
    from bench.cache import Cache
    from bench.data.dataset import Ragged, Split
    from bench.model.embedding import Cost
    from bench.negatives.pool import build_pool
    from bench.negatives.searchers import DenseSearcher
    from bench.search.exact import ExactIndex

    size, width, asked, mined = (2000, 64, 100, 200) if setting.tiny else (1_000_000, 768, 10_000, 20_000)
    k, depth = (10, 20) if setting.tiny else (100, 256)
    memory_mb = 16 if setting.tiny else 4096  # of scores
    generator = torch.Generator(setting.device).manual_seed(0)

    def drawn(rows: int) -> np.ndarray:
        vectors = torch.randn(rows, width, generator=generator, device=setting.device)
        return torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()

    passages, queries = drawn(size), drawn(mined)
    found: dict[str, np.ndarray] = {}

    def torch_search() -> Row:
        index = ExactIndex(passages, setting.device, memory_mb)
        start = perf_counter()
        index.search(queries[:8], k)  # the vectors are sent to the device
        ready = perf_counter()
        found["torch"] = index.search(queries[:asked], k)[1]
        return {"build_s": ready - start, "search_s": perf_counter() - ready, "queries": asked, "k": k}

    def faiss_search() -> Row:
        import faiss

        start = perf_counter()
        index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), width)
        index.add(passages)
        ready = perf_counter()
        ids = index.search(queries[:asked], k)[1]
        seconds = perf_counter() - ready
        same = float((ids == found["torch"]).mean()) if "torch" in found else None
        return {"build_s": ready - start, "search_s": seconds, "queries": asked, "k": k, "same_ids": same}

    def mining() -> Row:
        rows = np.arange(mined)
        split = Split(rows, Ragged(np.arange(mined + 1), rows))
        searcher = DenseSearcher(queries, passages, setting.device, Cost(), memory_mb)
        with tempfile.TemporaryDirectory(dir=setting.scratch) as place:
            start = perf_counter()
            build_pool("pool", lambda: searcher, split, depth, memory_mb, Cache(Path(place)))
            return {"mine_s": perf_counter() - start, "queries": mined, "depth": depth}

    yield case(setting, f"torch, {size} x {width}", 20, torch_search)
    if not setting.cuda:
        yield {"case": "faiss-gpu", "skipped": NEEDS_CUDA}
    elif not _faiss_has_gpus():
        yield {"case": "faiss-gpu", "skipped": "faiss-gpu is not installed (extra gpu)"}
    else:
        yield case(setting, f"faiss-gpu, {size} x {width}", 20, faiss_search)
    yield case(setting, f"mining, {size} x {width}", 30, mining)


def _faiss_has_gpus() -> bool:
    try:
        import faiss
    except ImportError:
        return False
    return bool(getattr(faiss, "get_num_gpus", lambda: 0)())


def demo(setting: Setting) -> Iterator[Row]:
    """The runs of ``make demo``; a tiny one is made shorter, and on the data and the encoder of the other parts."""
    words = demo_words((ROOT / "Makefile").read_text("utf-8"))
    words = [word for word in words if not word.startswith("runs_dir=")]
    runs = tempfile.mkdtemp(dir=setting.scratch)
    words += [f"runs_dir={runs}", f"device={setting.device}"]
    if setting.tiny:
        words = [word for word in words if not word.startswith("strategy=")]
        words += ["strategy=in_batch", f"data={setting.data}", f"encoder={setting.model(0.1)}", "train.max_steps=2"]

    def measure() -> Row:
        start = perf_counter()
        done = _apart(setting, [sys.executable, "-m", "bench", *words])
        seconds = perf_counter() - start
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
        return {"seconds": seconds, "runs": len(list(Path(runs).glob("*/record.json"))), "command": shlex.join(words)}

    yield case(setting, "make demo", 1 if setting.tiny else 30, measure, memory=False)


def demo_words(makefile: str) -> list[str]:
    """The words of ``bench`` of the target demo."""
    (small,) = re.findall(r"^SMALL := ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    (words,) = re.findall(r"bench (run strategy=.*\$\(SMALL\).*)", makefile)
    return shlex.split(words.replace("$(SMALL)", small.replace("\\\n", " ")))


PARTS: dict[str, tuple[Callable[[Setting], Iterator[Row]], float]] = {
    "tests": (tests, 1.0),
    "products": (products, 0.2),
    "encoding": (encoding, 1.2),
    "training": (training, 2.6),
    "search": (search, 1.2),
    "demo": (demo, 1.4),
}
"""The parts in order, each with its weight when the time is shared out."""


def main() -> None:
    """Run the parts that lines of the standard input name, [part, setting] in JSON, and print their rows in JSON."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for line in sys.stdin:
        part, told = json.loads(line)
        setting = Setting(**{**told, "scratch": Path(told["scratch"])})
        models = part == "models"
        for row in iter([{"case": "models", **write_models(setting)}]) if models else PARTS[part][0](setting):
            print("ROW " + json.dumps(row), flush=True)
        print("END", flush=True)


if __name__ == "__main__":
    main()
