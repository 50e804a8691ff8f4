"""Generating from a trained model: decoding with a cache, sampling, ranking, measures, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_both_ways import encoder_of
from test_cli import refused
from tiny import bench, words_for
from torch import Tensor
from toys import DATA, Training, toy_encoder

from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.model.encoder import Encoder
from bench.model.language import LanguageModelHead
from bench.model.packing import pack
from bench.train.config import TrainConfig
from bench.train.trainer import Conditions, Trainer
from bench.use.decoding import Decoder, nucleus, padded, sample
from bench.use.embedder import Embedder
from bench.use.generation import Generated, Generator, Sampling
from bench.use.measures import measure
from strategies import registered

GENERATORS = ("packed", "sdpa", "roformer", "roberta", "mpnet", "distilbert")


def rewarded(encoder: Encoder) -> LanguageModelHead:
    """A head whose logits are far apart."""
    head = LanguageModelHead.of(encoder, 3)
    head.norm.weight.data.mul_(2)
    return head


def recomputed(encoder: Encoder, head: LanguageModelHead, source: list[int], target: list[int]) -> Tensor:
    """The logits after a target, all of it read anew with its source, in training's way."""
    ids = np.array([*source, *target], dtype=np.int32)
    tokens = Tokens(ids, np.array([0, len(ids)]), np.zeros(1, dtype=np.bool_), sources=np.array([len(source)]))
    with torch.no_grad():
        states = encoder.states(pack([(tokens, np.zeros(1, dtype=np.int64))]))[-1]
        logits: Tensor = head(states[-1:], encoder.word_embeddings.weight)[0]
    return logits


@pytest.mark.parametrize("layout", GENERATORS)
def test_decoding_with_a_cache_is_reading_everything_anew(layout: str) -> None:
    encoder = encoder_of(layout)
    head, source, rng = rewarded(encoder), [2, 9, 12, 30, 3], np.random.default_rng(0)
    targets: list[list[int]] = [[], [], []]
    with torch.no_grad(), padded(encoder):
        decoder = Decoder(encoder, head, source, 3)
        assert (decoder.cache is None) == (layout in ("mpnet", "distilbert")), "these have none"
        found = [(targets, decoder.logits)]
        for length in range(6):
            drawn = rng.integers(5, 40, len(targets))
            targets = [[*target, int(token)] for target, token in zip(targets, drawn, strict=True)]
            found.append((targets, decoder.step(torch.from_numpy(drawn))))
            if length == 2:  # the second one has ended
                decoder.keep(torch.tensor([0, 2]))
                targets = [targets[0], targets[2]]
    for at_step, logits in found:
        for row, target in enumerate(at_step):
            torch.testing.assert_close(logits[row], recomputed(encoder, head, source, target), rtol=0, atol=2e-5)


@pytest.mark.parametrize("layout", GENERATORS)
def test_sampling_leaves_the_encoder_as_it_was_and_ends_targets(layout: str) -> None:
    encoder = encoder_of(layout)
    if encoder.tokenizer is None:
        encoder.tokenizer = toy_encoder(DATA).tokenizer
    source = [2, 9, 12, 30, 3]
    before = recomputed(encoder, rewarded(encoder), source, [7])
    drawn = [
        sample(encoder.train(), rewarded(encoder), source, 20, torch.Generator().manual_seed(seed), most=9)
        for seed in (1, 1, 2)
    ]
    assert encoder.training
    assert torch.equal(before, recomputed(encoder.eval(), rewarded(encoder), source, [7]))
    assert drawn[0] == drawn[1] != drawn[2]
    special = set(encoder.tokenizer.all_special_ids)
    for targets in drawn:
        assert len(targets) == 20 and max(map(len, targets)) <= 9
        assert not special & {token for target in targets for token in target}


def test_a_nucleus_is_the_fewest_tokens_of_the_wanted_probability() -> None:
    probability = torch.tensor([[0.05, 0.5, 0.3, 0.15]])
    logits = probability.log().repeat(4000, 1)
    generator = torch.Generator().manual_seed(0)
    for top_p, kept in ((0.5, [1]), (0.51, [1, 2]), (0.8, [1, 2]), (0.9, [1, 2, 3]), (1.0, [0, 1, 2, 3])):
        found = torch.bincount(nucleus(logits, top_p, generator), minlength=4) / len(logits)
        wanted = torch.zeros(4)
        wanted[kept] = probability[0, kept] / probability[0, kept].sum()
        assert found.nonzero()[:, 0].tolist() == kept
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.03)


def test_a_text_with_its_target_is_not_longer_than_the_positions() -> None:
    encoder = encoder_of("sdpa")
    head = rewarded(encoder)
    head.bias.data[3] = -1e4  # never ends
    targets = sample(encoder, head, [2, *[9] * 28, 3], 2, torch.Generator().manual_seed(0), most=64)
    assert [len(target) for target in targets] == [10, 10]


# What is made of the candidates


@pytest.fixture(scope="module")
def trained() -> Generator:
    """A model that has learnt to say a topic's passages for its queries, and the other way round."""
    training = Training(registered()["simbert"](), dropout=0.0)
    learner = training.learner(training.strategy)
    assert learner.language is not None
    config = TrainConfig(batch_size=8, epochs=25, lr=3e-3, eval_every=0)
    objective, conditions = (
        training.objective(training.strategy, training.directory),
        Conditions(0, "fp32", training.directory),
    )
    Trainer(learner, objective, config, conditions).fit()
    return Generator(Embedder(training.encoder.eval(), "fp32"), learner.language)


def test_candidates_are_distinct_not_the_source_and_ranked_by_cosine(trained: Generator) -> None:
    text = DATA.queries[0]
    made = trained.similar(text, Sampling(candidates=60, seed=1))
    found = [sentence for sentence, _ in made.ranked]
    assert len(made.sampled) == 60 and len(found) == len(set(found)) > 1
    assert made.read == text.lower() and made.read not in found and "" not in found
    vectors = trained.embedder.vectors([text, *found], "query")
    cosines = [cosine for _, cosine in made.ranked]
    np.testing.assert_allclose(cosines, vectors[1:] @ vectors[0], atol=1e-6)
    assert cosines == sorted(cosines, reverse=True)
    assert trained.similar(text, Sampling(candidates=60, seed=1)) == made
    assert trained.similar(text, Sampling(candidates=60, seed=2)) != made


def test_what_was_learnt_is_generated(trained: Generator) -> None:
    """Candidates of a query begin with the first word of its passages, in the other language, and rarely others do."""
    topics = range(0, 30, 3)
    first = [DATA.passages[2 * topic].split()[0].lower() for topic in topics]
    starts = [
        [text.split()[0] for text in trained.similar(DATA.queries[3 * topic], Sampling(40)).sampled if text]
        for topic in topics
    ]
    share = np.array([[np.mean([word == own for word in words]) for own in first] for words in starts])
    right, wrong = np.diag(share).mean(), share[~np.eye(len(share), dtype=bool)].mean()
    assert right > 4 * wrong


def test_masked_places_are_hidden(trained: Generator) -> None:
    """Sentences that differ only there have the same candidates."""
    first, second, *rest = DATA.queries[0].split()
    texts = [" ".join([first, second, *rest]), " ".join([second, second, *rest])]
    ids = [trained.embedder.tokens([text], "query")[0].tolist() for text in texts]
    assert len(ids[0]) == len(ids[1])
    places = tuple(place for place in range(len(ids[0])) if ids[0][place] != ids[1][place])
    plain, masked = (
        [trained.similar(text, Sampling(30, mask=mask)).sampled for text in texts] for mask in ((), places)
    )
    assert places and plain[0] != plain[1] and masked[0] == masked[1]


@pytest.mark.parametrize("place", [-1, 0, 99])
def test_a_place_that_the_sentence_does_not_have(trained: Generator, place: int) -> None:
    last = len(trained.embedder.tokens(["kaban dor"], "query")[0]) - 2
    with pytest.raises(
        UserError, match=rf"no token of 'kaban dor' has place {place} to be masked; places are 1 to {last}"
    ):
        trained.similar("kaban dor", Sampling(5, mask=(place,)))
    trained.similar("kaban dor", Sampling(5, mask=(1, last)))


def test_chinese_is_written_without_spaces(trained: Generator) -> None:
    from bench.model.scratch import word_piece

    tokenizer = word_piece(["怎么样重置我的密码?", "ok then"], 0)
    encoder = replace(trained.embedder)
    generator = Generator(encoder, trained.head)
    before, trained.embedder.encoder.tokenizer = trained.embedder.encoder.tokenizer, tokenizer
    try:
        assert generator._text(tokenizer("怎么样重置ok then我的密码?").input_ids) == "怎么样重置ok then我的密码?"
    finally:
        trained.embedder.encoder.tokenizer = before


# Measures


def test_measures_are_their_definitions() -> None:
    """Directions by hand: the judge sees three texts on the axes and one between two of them."""
    seen = {"a": [1.0, 0.0], "b": [0.6, 0.8], "c": [0.0, 1.0], "x": [1.0, 0.0]}
    made = [
        Generated("a", "a", ("a", "b", "b", "c"), (("b", 0.9), ("c", 0.1))),
        Generated("x", "x", ("x", "x", "x", "x"), ()),
    ]

    def vectors(texts: list[str]) -> np.ndarray:
        return np.array([seen[text] for text in texts], dtype=np.float32)

    found = measure(made, 2, vectors)
    assert found.distinct == pytest.approx((75 + 25) / 2) and found.copied == pytest.approx((25 + 100) / 2)
    assert found.cosine == pytest.approx((0.6 + 0.0) / 2)
    assert measure(made, 1, vectors).cosine == pytest.approx(0.6)
    assert np.isnan(measure(made[1:], 1, vectors).cosine)


# The command


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of simbert."""
    runs = tmp_path_factory.mktemp("generate") / "runs"
    words = words_for(data, runs) | {"strategy": "simbert", "train.max_steps": "30", "encoder.max_query_tokens": "32"}
    assert bench("run", *(f"{key}={word}" for key, word in words.items())) == 0
    (made,) = runs.glob("simbert-*")
    return made


def test_sentences_of_a_run_best_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [path.name for path in (run / "head").iterdir()] == ["language_model.safetensors"]
    shown = []
    for model in (run.name, str(run), str(run / "model")):
        assert bench("generate", model, "kaban lodor", "--n", "5", "--seed", "3", "--runs-dir", str(run.parent)) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]
    cosines = [float(line.split("  ")[0]) for line in shown[0].splitlines()]
    assert len(cosines) == 5 and cosines == sorted(cosines, reverse=True)


def test_sentences_of_a_file_into_a_file_with_measures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "made" / "out.jsonl"
    texts.write_text("kaban lodor\r\nminux pefel\r\n", encoding="utf-8")
    words = ["--texts", str(texts), "--out", str(out), "--n", "4", "--candidates", "30", "--measure", str(run)]
    assert bench("generate", str(run), *words) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["kaban lodor", "minux pefel"]
    assert all(set(row) == {"text", "generated"} and len(row["generated"]) <= 4 for row in rows)
    told = capsys.readouterr().out
    assert str(out) in told and "distinct " in told and "copied " in told and "mean cosine" in told
    assert bench("generate", str(run), "minux pefel", "--n", "4", "--candidates", "30") == 0
    alone = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert alone == [each["text"] for each in rows[1]["generated"]], "whatever is generated beside it"


WRONG = [
    (["kaban", "--mask", "9"], "no token of 'kaban' has place 9 to be masked"),
    (["kaban", "--mask", "a"], "--mask a: give places with commas"),
    (["kaban", "--n", "0"], "--n=0 must be at least 1"),
    (["kaban", "--n", "200"], "--n 200 is more than the 100 sentences"),
    (["kaban", "--top-p", "0"], "top_p=0.0 must be above 0"),
    (["kaban", "--seed", "-1"], "seed=-1 must be at least 0"),
    ([], "give either a sentence or --texts"),
    ([" "], "the sentence is empty"),
    (["--texts", "nowhere.txt"], "--texts nowhere.txt: No such file"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_what_a_person_gets_wrong(
    run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(bench("generate", str(run), *words), capsys, message)


def test_a_model_without_a_head(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_for(data, tmp_path / "runs") | {"strategy": "mnr", "train.init_from": f"'{run / 'model'}'"}
    assert bench("run", *(f"{key}={word}" for key, word in words.items())) == 0
    (other,) = (tmp_path / "runs").glob("mnr-*")
    capsys.readouterr()
    assert not (other / "head").exists(), "a stage that does not train the head has none"
    for model in (str(other), "minilm", "scratch"):
        refused(
            bench("generate", model, "kaban"), capsys, "has no language-model head .*simbert or strategy=roformer_sim"
        )


def test_a_run_without_weights_has_no_head_either_and_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = words_for(data, runs) | {"strategy": "simbert", "keep": "none"}
    assert bench("run", *(f"{key}={word}" for key, word in words.items())) == 0
    (made,) = runs.glob("simbert-*")
    assert not (made / "model").exists() and not (made / "head").exists()
    capsys.readouterr()
    for model in (made.name, str(made)):
        refused(
            bench("generate", model, "kaban", "--runs-dir", str(runs)), capsys, "kept no weights.* keep=all --force"
        )
