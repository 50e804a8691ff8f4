"""The model that is measured on a GPU: a BERT with random weights, encoding and training, here and by its peer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from gpu_case import NEEDS_CUDA, TOKENS, Row, Setting, best, case

from bench.data import tokenize
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.model.embedding import encode
from bench.model.encoder import Encoder

CHUNK = 512  # texts that the gradient cache holds at once


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
        TrainConfig(batch, micro_batch=micro, epochs=10**4, lr=2e-5, weight_decay=0.0, eval_every=0, save_every=10**6),
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
