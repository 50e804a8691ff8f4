"""Pairs in both directions: what a source sees, the loss of SimBERT by its formula, and generation as a loss."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from ranks import together
from safetensors.torch import load_file
from tiny import bench, words_for
from torch import Tensor
from toys import CPU, DATA, Training, toy_encoder

from bench.config.overrides import resolve, sources
from bench.data.dataset import Ragged, Split
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens, tokenize
from bench.errors import UserError
from bench.model.config import POOLINGS, EncoderConfig
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.language import FILE, LanguageModelHead, load_head, save_head
from bench.model.packing import Packed, pack
from bench.model.presets import SCRATCH
from bench.model.trial import check_targets, prepare
from bench.train.both_ways import BothWaysExamples, same_texts
from bench.train.masking import WordMask
from bench.train.step import Stepper, random_state, set_random_state
from bench.world import World
from strategies import registered
from strategies.examples import BothWays

SIMBERT = registered()["simbert"]
LAYOUTS = ("packed", "sdpa", "eager", "roformer", "roberta", "mpnet", "distilbert")

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
OTHERS: dict[str, tuple[str, dict[str, int]]] = {
    "roberta": ("Roberta", {**SIZES, "type_vocab_size": 1, "pad_token_id": 1}),  # one segment, positions from 2 on
    "mpnet": ("MPNet", SIZES),  # distances beside positions, no cache
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),  # no segments, no cache
}


def encoder_of(layout: str, pooling: str = "mean") -> Encoder:
    torch.manual_seed(0)
    if layout == "roformer":
        transformer, tokenizer = SCRATCH["scratch-roformer"](DATA.queries, hidden=32)
        encoder = prepare(Encoder(transformer, tokenizer, EncoderConfig("tiny", pooling)), CPU)
    elif layout in OTHERS:
        name, settings = OTHERS[layout]
        config = getattr(transformers, f"{name}Config")(vocab_size=200, **settings)
        plain = getattr(transformers, f"{name}Model")(config)
        encoder = prepare(Encoder(plain, None, EncoderConfig("tiny", pooling)), CPU)
    else:
        encoder = toy_encoder(DATA, pooling=pooling)
        assert encoder.packs, "a BERT is packed on a CPU"
        if layout != "packed":
            encoder.packs = False
            encoder.transformer.set_attn_implementation(layout)
    for parameter in encoder.parameters():  # larger weights than usual, so that a wrongly seen token shows
        parameter.data.add_(torch.randn_like(parameter) * 0.1 * parameter.requires_grad)
    return encoder.eval()


def texts(lengths: list[int], seed: int = 0, sources: list[int] | None = None) -> Tokens:
    ids = np.random.default_rng(seed).integers(5, 40, sum(lengths), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(
        ids, offsets, np.zeros(len(lengths), dtype=np.bool_), sources=None if sources is None else np.array(sources)
    )


LENGTHS, SOURCES = [9, 5, 17, 12], [4, 3, 9, 12]
JOINED = texts(LENGTHS, sources=SOURCES)


def packed(tokens: Tokens) -> Packed:
    return pack([(tokens, np.arange(len(tokens)))])


def alone(row: int, length: int) -> Packed:
    ids = JOINED[row][:length]
    return packed(Tokens(ids, np.array([0, length]), np.zeros(1, dtype=np.bool_)))


@pytest.mark.parametrize("pooling", [pooling for pooling in POOLINGS if "pooler" not in pooling])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_vector_of_a_source_with_its_target_is_that_of_the_source_alone(layout: str, pooling: str) -> None:
    encoder = encoder_of(layout, pooling)
    with torch.no_grad():
        both = encoder(packed(JOINED)).raw
        for row, length in enumerate(SOURCES):
            torch.testing.assert_close(both[row], encoder(alone(row, length)).raw[0], rtol=0, atol=1e-5)
    check_targets(encoder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_target_token_sees_the_source_and_what_is_before_it_and_nothing_after(layout: str) -> None:
    """Changing one token changes the states of the tokens that see it, and of no others."""
    encoder, row = encoder_of(layout), 2
    ids, source = JOINED[row], SOURCES[row]

    def states(tokens: np.ndarray) -> Tensor:
        one = Tokens(tokens, np.array([0, len(tokens)]), np.zeros(1, dtype=np.bool_), sources=np.array([source]))
        with torch.no_grad():
            return encoder.states(packed(one))[-1]

    before = states(ids)
    for place in range(len(ids)):
        changed = ids.copy()
        changed[place] = (changed[place] + 12) % 35 + 5
        moved = (states(changed) - before).abs().amax(1) > 1e-5
        sees = [seer >= place or (place < source) for seer in range(len(ids))]
        assert moved.tolist() == sees, place


def test_layouts_agree_and_bf16_is_close() -> None:
    encoder = encoder_of("packed")
    with torch.no_grad():
        wanted = encoder.states(packed(JOINED))[-1]
        for layout in ("eager", "sdpa"):
            encoder.packs = False
            encoder.transformer.set_attn_implementation(layout)
            torch.testing.assert_close(encoder.states(packed(JOINED))[-1], wanted, rtol=0, atol=1e-5)
            with torch.autocast("cpu", torch.bfloat16):
                rough = encoder(packed(JOINED)).unit
            cosines = (rough * encoder(packed(JOINED)).unit).sum(1)
            assert cosines.min() > 0.999


def test_a_causal_model_cannot_be_trained_to_generate() -> None:
    config = transformers.GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    encoder = prepare(Encoder(transformers.GPT2Model(config), None, EncoderConfig("gpt", causal=True)), CPU)
    with pytest.raises(UserError, match="encoder=gpt: this gpt2 model cannot be trained to generate"):
        check_targets(encoder)


# The contrastive part


def set_of(training: Training, pairs: list[tuple[int, int]], **declared: object) -> BothWaysExamples:
    """The examples of (query, passage) pairs of the toy data, in this order."""
    queries = sorted({query for query, _ in pairs})
    rows = [[p for q, p in pairs if q == query] for query in queries]
    found = Pairs(Split(np.array(queries), Ragged.of(rows)))
    data = training.data
    first = same_texts(data.queries, data.passages, found)
    return BothWaysExamples(
        found, training.queries, training.passages, first, training.encoder, BothWays(**declared), 0
    )


def stepped(training: Training, examples: BothWaysExamples, rows: int, cached: bool = False):
    objective = replace(training.objective(training.strategy, training.directory), examples=examples)
    return Stepper(training.learner(training.strategy), objective, "fp32", 5 if cached else None).backward(
        np.arange(rows), None
    )


def test_the_loss_is_the_documented_formula_on_the_vectors_of_both_directions() -> None:
    """S = V V^T - 1e12 I, times the scale; the target of an even row is the next one, of an odd row the one before."""
    training = Training(SIMBERT(generation=0.0), dropout=0.0)
    pairs = [(0, 0), (3, 2), (6, 4), (9, 6), (12, 8)]
    batch, loss = stepped(training, set_of(training, pairs, targets=False), len(pairs))
    order = [text for q, p in pairs for text in (training.data.queries[q], training.data.passages[p])]
    tokens = tokenize(order, training.encoder.tokenizer, 16)
    v = training.encoder(pack([(tokens, np.arange(len(order)))])).unit.tolist()
    terms = []
    for i, row in enumerate(v):
        s = [30 * (sum(a * b for a, b in zip(row, other, strict=True)) - 1e12 * (i == j)) for j, other in enumerate(v)]
        largest = max(s)
        total = largest + math.log(sum(math.exp(x - largest) for x in s))
        terms.append(total - s[i + 1 if i % 2 == 0 else i - 1])
    torch.testing.assert_close(loss.per_example, torch.tensor(terms), rtol=1e-4, atol=1e-4)
    assert batch.generation is None and batch.queries.shape == batch.candidates.shape


def test_equal_texts_and_texts_of_one_pair_are_never_negatives_and_count_once() -> None:
    """Query 0 is in two pairs, passage 2 too; passage 6 has the words of query 3."""
    training = Training(SIMBERT(), dropout=0.0)
    training.data.passages[6] = training.data.queries[3]
    training.passages = tokenize(training.data.passages, training.encoder.tokenizer, 16)
    pairs = [(0, 0), (0, 2), (3, 2), (9, 6)]
    batch, _ = stepped(training, set_of(training, pairs), len(pairs))
    words = [(training.data.queries[q], training.data.passages[p]) for q, p in pairs]
    rows = [text for pair in words for text in pair]
    together_ = {frozenset(pair) for pair in words}
    columns = len(set(rows))
    assert batch.similarity.shape == (8, columns)
    for row, text in enumerate(rows):
        related = {text} | {other for pair in together_ if text in pair for other in pair}
        assert batch.relevant[row].sum() == len(related), text
        partner = rows[row + 1 if row % 2 == 0 else row - 1]
        own = rows.index(partner)
        torch.testing.assert_close(batch.positive_similarity[row], batch.queries[row] @ batch.queries[own])


# Generation


def by_hand(training: Training, head: LanguageModelHead, pairs: list[tuple[int, int]]) -> float:
    """sum(CE * mask) / sum(mask) over both directions, one text at a time through the plain model and a 4D mask."""
    encoder, total, count = training.encoder, 0.0, 0
    encoder.packs = False
    encoder.transformer.set_attn_implementation("eager")
    table = encoder.word_embeddings.weight
    for query, passage in pairs:
        a, b = training.queries[query].tolist(), training.passages[passage].tolist()
        for source, target in ((a, b[1:]), (b, a[1:])):
            ids = source + target
            mask = torch.full((1, 1, len(ids), len(ids)), torch.finfo(torch.float32).min)
            for row in range(len(ids)):
                mask[0, 0, row, : max(len(source), row + 1)] = 0
            segments = torch.tensor([[0] * len(source) + [1] * len(target)])
            out = encoder.transformer(input_ids=torch.tensor([ids]), attention_mask=mask, token_type_ids=segments)
            for place in range(len(source), len(ids)):
                state = out.last_hidden_state[0, place - 1]
                hidden = F.layer_norm(F.gelu(head.dense(state)), state.shape, head.norm.weight, head.norm.bias, 1e-12)
                total -= (table @ hidden + head.bias).log_softmax(0)[ids[place]].item()
                count += 1
    return total / count


def test_the_generation_loss_is_the_documented_mean_over_target_tokens() -> None:
    training = Training(SIMBERT(), dropout=0.0)
    pairs = [(0, 0), (3, 2), (6, 4)]
    examples = set_of(training, pairs)
    batch, _ = stepped(training, examples, 3)
    wanted = by_hand(training, LanguageModelHead.of(training.encoder, 0), pairs)
    assert batch.generation.shape == (6,)
    assert batch.generation.mean().item() == pytest.approx(wanted, rel=1e-5)


def test_the_weights_of_the_parts_are_factors() -> None:
    losses = {}
    for contrast, generation in ((1.0, 1.0), (1.0, 0.5), (0.0, 1.0), (1.0, 0.0)):
        training = Training(SIMBERT(contrast=contrast, generation=generation), dropout=0.0)
        examples = set_of(training, [(0, 0), (3, 2), (6, 4)], targets=generation > 0)
        losses[contrast, generation] = stepped(training, examples, 3)[1].value.item()
    whole, half, only_generation, only_contrast = losses.values()
    assert whole == pytest.approx(only_generation + only_contrast, rel=1e-5)
    assert half == pytest.approx(only_generation / 2 + only_contrast, rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_gradient_cache_gives_the_gradient_of_the_whole_batch_heads_included(noise: float, dropout: float) -> None:
    training = Training(SIMBERT(noise=noise), dropout=dropout, micro_batch=5)
    start, gradients = random_state(CPU), []
    for cached in (True, False):
        set_random_state(start, CPU)
        gradients.append(training.gradients(cached))
    assert {"language.dense.weight", "language.bias"} <= gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        largest = gradient.abs().max().item()
        assert largest > 0
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-4 * largest + 1e-7)


@pytest.mark.parametrize("rows", [5, 1])
def test_two_ranks_give_the_generation_loss_of_one_device(rows: int) -> None:
    """Also where the ranks have targets of different lengths, or one has none."""
    trainings = [Training(SIMBERT(), dropout=0.0) for _ in range(3)]
    ready = [(t, t.objective(t.strategy, t.directory), t.learner(t.strategy)) for t in trainings]

    def work(world: World) -> tuple[float, dict[str, Tensor]]:
        _, objective, learner = ready.pop()
        batch, _ = Stepper(learner, objective, "fp32", None, world).backward(np.arange(rows), None)
        return batch.generation.mean().item(), {n: p.grad for n, p in learner.named_parameters() if p.grad is not None}

    ((wanted, alone),) = together(1, work)
    for value, gradients in together(2, work):
        assert value == pytest.approx(wanted, rel=1e-5)
        for name, gradient in gradients.items():
            largest = alone[name].abs().max().item()
            torch.testing.assert_close(gradient, alone[name], rtol=0, atol=1e-4 * largest + 1e-7)


def test_the_output_is_tied_to_the_whole_vocabulary_in_training() -> None:
    """A token that no text has learns from being a wrong answer: its word embedding moves."""
    training = Training(SIMBERT(), max_steps=2, dropout=0.0)
    examples = training.objective(training.strategy, training.directory).examples
    assert len(examples.vocabulary(np.zeros(0, dtype=np.int64))) == training.encoder.word_embeddings.num_embeddings
    used = np.union1d(training.queries.ids, training.passages.ids)
    unused = np.setdiff1d(np.arange(len(training.encoder.tokenizer)), used)
    before = training.encoder.word_embeddings.weight.detach().clone()
    training.fit()
    moved = (training.encoder.word_embeddings.weight - before).abs().amax(1)[unused]
    assert len(unused) and (moved > 1e-4).all()


def test_only_the_contrast_trains_the_words_in_use_alone() -> None:
    training = Training(SIMBERT(generation=0.0))
    examples = training.objective(training.strategy, training.directory).examples
    assert len(examples.vocabulary(np.zeros(0, dtype=np.int64))) < training.encoder.word_embeddings.num_embeddings
    assert training.learner(training.strategy).language is None


def test_pairs_that_are_too_long_together_are_refused() -> None:
    training = Training(SIMBERT())
    long = " ".join(training.data.queries[:9])
    training.data.queries[0] = long
    training.queries = tokenize(training.data.queries, training.encoder.tokenizer, 39)
    examples = training.objective(training.strategy, training.directory).examples
    with pytest.raises(UserError, match=r"a pair has \d+ tokens, but encoder=toy has positions for 40"):
        examples.vocabulary(np.zeros(0, dtype=np.int64))


def test_the_head_is_saved_whole_and_comes_back(tmp_path: Path) -> None:
    encoder = toy_encoder(DATA)
    head = LanguageModelHead.of(encoder, 7)
    assert load_head(tmp_path, encoder) is None
    save_head(head, tmp_path)
    again = load_head(tmp_path, encoder)
    assert again is not None and [path.name for path in tmp_path.iterdir()] == [FILE]
    for name, value in head.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    other = encoder_of("roformer")
    with pytest.raises(UserError, match="not a language-model head of the encoder beside it"):
        load_head(tmp_path, other)
    (tmp_path / FILE).write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a language-model head"):
        load_head(tmp_path, encoder)


# Noise


def test_noise_masks_whole_words_in_the_documented_shares() -> None:
    tokenizer = toy_encoder(DATA).tokenizer
    mask = WordMask.of(tokenizer)
    rng, counts, words = np.random.default_rng(0), dict.fromkeys(("kept", "masked", "random"), 0), 0
    text = tokenize([" ".join(["kabanlodor", "minufelgim", "huxpe"] * 5)], tokenizer, 400)[0]
    pieces = tokenizer.convert_ids_to_tokens(text.tolist())
    word = np.cumsum([not piece.startswith("##") for piece in pieces]) - 1
    assert len(set(word.tolist())) < len(text), "some words have several pieces"
    for _ in range(400):
        noised = mask.masked(text, rng)
        assert noised[0] == text[0] and noised[-1] == text[-1]
        for number in range(1, word[-1]):
            was, now = text[word == number], noised[word == number]
            words += 1
            if (now == mask.mask).any():
                assert (now == mask.mask).all(), "a word is masked whole"
                counts["masked"] += 1
            elif (now != was).any():
                counts["random"] += 1
                assert not np.isin(now, tokenizer.all_special_ids).any()
    assert counts["masked"] / words == pytest.approx(0.15 * 0.8, abs=0.015)
    assert counts["random"] / words == pytest.approx(0.15 * 0.1, abs=0.006)


def test_words_of_other_vocabularies_begin_with_a_mark() -> None:
    from tokenizers import Tokenizer, models

    pieces = {"[MASK]": 0, "▁how": 1, "ever": 2, "▁so": 3}
    backend = Tokenizer(models.BPE(pieces, []))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]")
    assert WordMask.of(tokenizer).continues.tolist() == [False, False, True, False]
    without = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(UserError, match="has no mask token"):
        WordMask.of(without)


def test_noise_is_on_sources_alone_and_depends_on_seed_and_step_on_any_number_of_devices() -> None:
    training = Training(SIMBERT())
    pairs = [(q, 2 * (q // 3)) for q in range(0, 60, 3)]
    rows = np.arange(len(pairs))

    def tokens(
        noise: float, step: int = 0, rank: int = 0, seed: int = 0, part: slice = slice(None)
    ) -> list[tuple[list[int], list[int]]]:
        examples = replace(set_of(training, pairs, noise=noise), seed=seed)
        ((made, _),) = examples.request(rows[part], None, step, rank).parts
        cut = [(made[row].tolist(), int(made.sources[row])) for row in range(len(made))]
        return [(text[:source], text[source:]) for text, source in cut]

    clean, noised = tokens(0.0), tokens(0.5)
    assert [target for _, target in clean] == [target for _, target in noised]
    touched = np.mean([one != other for (one, _), (other, _) in zip(clean, noised, strict=True)])
    assert 0.1 < touched < 0.5, "half of the sources, less those in which no word was chosen"
    assert tokens(0.5) == noised
    assert noised not in (tokens(0.5, step=1), tokens(0.5, seed=1)) and tokens(0.5, rank=1) == noised
    assert noised[10:16] == tokens(0.5, part=slice(5, 8)), "as a rank that has these examples alone"
    source, target = clean[0]
    assert source == training.queries[0].tolist() and target == training.passages[0].tolist()[1:]


# RoFormer-Sim


def test_the_second_stage_is_the_documented_loss() -> None:
    """lambda / n^2 times the sum over all i, j, plus generation; the teacher sees texts without noise."""
    training = Training(registered()["roformer_sim"](), dropout=0.0)
    stage = replace(training.strategy.stages()[1], noise=1.0)
    examples = training.objective(stage, training.directory)
    batch, loss = Stepper(training.learner(stage), examples, "fp32").backward(np.arange(6), None)
    pairs, data = examples.examples.pairs, training.data
    order = [(data.queries[pairs.query[row]], data.passages[pairs.positive[row]]) for row in range(6)]
    tokens = tokenize([text for pair in order for text in pair], training.encoder.tokenizer, 16)
    u = batch.queries.detach().double()
    v = torch.from_numpy(encode(training.another, tokens, "fp32")).double()
    n, total = len(u), 0.0
    for i in range(n):
        for j in range(n):
            total += (sum(u[i] * u[j]) - sum(v[i] * v[j])).item() ** 2
    wanted = 100 / n**2 * total + batch.generation.mean().item()
    assert loss.value.item() == pytest.approx(wanted, rel=1e-4)


def test_the_head_goes_on_from_stage_to_stage_and_into_the_run(tmp_path: Path, data: Path) -> None:
    """A chain's second stage begins with the first one's head, a run with that of the run it starts from."""
    training = Training(registered()["roformer_sim"](), directory=tmp_path / "chain", max_steps=3, save_every=1)
    training.fit()
    after = [torch.load(tmp_path / "chain" / stage / "last.pt", weights_only=True)["learner"] for stage in "01"]
    name = "language.bias"
    assert not torch.equal(after[0][name], after[1][name])
    fresh = LanguageModelHead.of(training.encoder, 0)
    assert (after[1][name] - after[0][name]).norm() < (after[1][name] - fresh.bias).norm()

    def run(**changes: str) -> Path:
        usual = words_for(data, tmp_path / "runs") | {"encoder": "scratch-roformer", "strategy": "simbert"}
        words = usual | {key.replace("__", "."): word for key, word in changes.items()}
        assert bench("run", *(f"{key}={word}" for key, word in words.items())) == 0
        return max((tmp_path / "runs").glob("*/record.json"), key=lambda path: path.stat().st_mtime_ns).parent

    first = run()
    second = run(train__init_from=first.name, train__max_steps="0")
    states = [load_file(made / "head" / FILE) for made in (first, second)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    chain = run(strategy="roformer_sim", strategy__teacher=f"'{first / 'model'}'", train__max_steps="2")
    assert (chain / "head" / FILE).is_file()
    record = json.loads((chain / "record.json").read_text())
    assert record["knobs"]["distil.teacher"] == str(first / "model")
    assert {"simbert/generation", "distil/generation"} <= record["training"]["telemetry"].keys()
    assert bench("generate", str(chain), "kaban lodor", "--candidates", "5", "--n", "3") == 0


def test_a_knob_that_one_stage_has_needs_no_stage() -> None:
    config = resolve(["strategy=roformer_sim", "strategy.teacher=scratch"])
    assert config.strategy.distil.teacher == "scratch"
    told = {key: origin for key, _, origin in sources(config, ["strategy=roformer_sim", "strategy.teacher=scratch"])}
    assert told["strategy.distil.teacher"] == "command line" != told["strategy.distil.noise"]
    with pytest.raises(UserError, match=r"no knob 'strategy\.noise'; did you mean"):
        resolve(["strategy=roformer_sim", "strategy.noise=0.1"])
    for wrong in ("simbert.noise=1.5", "distil.noise=1.5", "distil.generation=-1", "teacher=data"):
        with pytest.raises(UserError, match=f"strategy.{wrong.partition('=')[0].rpartition('.')[2]}="):
            resolve(["strategy=roformer_sim", f"strategy.{wrong}"])
    with pytest.raises(UserError, match=r"strategy.distil.teacher is given twice"):
        resolve(["strategy=roformer_sim", "strategy.teacher=a", "strategy.distil.teacher=b"])


def test_killed_in_the_second_stage_it_resumes_bit_equal_head_included(tmp_path: Path) -> None:
    def training(place: str) -> Training:
        strategy = registered()["roformer_sim"]()
        return Training(strategy, directory=tmp_path / place, max_steps=6, save_every=2)

    steps: list[int] = []

    def kill(step: int) -> None:
        steps.append(step)
        if len(steps) == 6 + 5:
            raise KeyboardInterrupt

    training("whole").fit()
    with pytest.raises(KeyboardInterrupt):
        training("killed").fit(on_step=kill)
    torch.manual_seed(99)
    training("killed").fit()
    states = [torch.load(tmp_path / place / "1" / "last.pt", weights_only=True) for place in ("whole", "killed")]
    assert any(name.startswith("language.") for name in states[0]["learner"])
    for name, value in states[0]["learner"].items():
        assert torch.equal(value, states[1]["learner"][name]), name
    assert states[0]["progress"]["step"] == states[1]["progress"]["step"] == 6
