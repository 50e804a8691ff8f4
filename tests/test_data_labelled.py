"""Pairs of sentences with scores or classes: their layouts, what an inference set trains, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.data import DataConfig, DataError, inspect, load, render

SCORED = [(f"left {n}", f"right {n} text", f"{n % 6 / 2:g}") for n in range(12)]
LABELS = ("entailment", "neutral", "contradiction")
INFERENCE = [(f"premise {n // 3}", f"hypothesis {n}", LABELS[n % 3]) for n in range(18)]


def tsv(path: Path, rows: list[tuple[str, str, str]], header: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in ([header] if header else []) + ["\t".join(row) for row in rows]))


def write(folder: Path, kind: str, split: str, rows: list[tuple[str, str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    named = [{"sentence1": a, "sentence2": b, "score": float(c)} for a, b, c in rows]
    if kind == "tsv":
        tsv(folder / f"{split}.tsv", rows)
    elif kind == "header":
        tsv(folder / f"{split}.tsv", rows, "sentence1\tsentence2\tscore")
    elif kind == "csv":
        pd.DataFrame(named).to_csv(folder / f"{split}.csv", index=False)
    elif kind == "jsonl":
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    else:
        pd.DataFrame(named).to_parquet(folder / f"{split}.parquet")


@pytest.mark.parametrize("kind", ["tsv", "header", "csv", "jsonl", "parquet"])
def test_scored_pairs_are_the_same_in_every_layout(kind: str, tmp_path: Path) -> None:
    for split, rows in {"dev": SCORED[:4], "test": SCORED[4:]}.items():
        write(tmp_path / "a" / "sts", "tsv", split, rows)
        write(tmp_path / "b" / "sts", kind, split, rows)
    expected, found = (load(DataConfig(str(tmp_path / place / "sts"))) for place in "ab")
    assert found.fingerprint == expected.fingerprint and list(found.tasks) == ["sts"] and not found.splits
    pairs = found.tasks["sts"]["test"]
    read = zip(pairs.left, pairs.right, pairs.label, strict=True)
    assert [(found.queries[a], found.queries[b], f"{c:g}") for a, b, c in read] == SCORED[4:]


def test_shards_are_one_split(tmp_path: Path) -> None:
    write(tmp_path / "a" / "sts", "tsv", "test", SCORED)
    for number, rows in enumerate((SCORED[:5], SCORED[5:8], SCORED[8:])):
        write(tmp_path / "b" / "sts", "parquet", f"test-{number:05}-of-00003", rows)
    expected, found = (load(DataConfig(str(tmp_path / place / "sts"))) for place in "ab")
    assert len(found.tasks["sts"]["test"]) == len(SCORED) and found.fingerprint == expected.fingerprint
    tsv(tmp_path / "a" / "nli" / "train.tsv", INFERENCE)
    for number, labelled in enumerate((INFERENCE[:2], INFERENCE[2:])):  # the first premise is in both
        tsv(tmp_path / "b" / "nli" / f"train-{number:05}-of-00002.tsv", labelled)
    expected, found = (load(DataConfig(str(tmp_path / place / "nli"))) for place in "ab")
    assert found.counts["train_negatives"] == 6 and found.fingerprint == expected.fingerprint
    tsv(tmp_path / "b" / "sts" / "train-00000-of-00002.tsv", SCORED)
    tsv(tmp_path / "b" / "sts" / "train-00001-of-00002.tsv", INFERENCE)
    with pytest.raises(DataError, match=r"00001-of-00002\.tsv: the files of train are of two kinds"):
        load(DataConfig(str(tmp_path / "b" / "sts")))


def test_a_directory_of_directories_is_several_tasks(tmp_path: Path) -> None:
    tsv(tmp_path / "two" / "binary" / "test.tsv", [(a, b, str(n % 2)) for n, (a, b, _) in enumerate(SCORED)])
    tsv(tmp_path / "two" / "graded" / "test.tsv", SCORED)
    data = load(DataConfig(str(tmp_path / "two")))
    assert {name: len(splits["test"]) for name, splits in data.tasks.items()} == {"binary": 12, "graded": 12}
    assert len(data.queries) == len(set(data.queries)) == 24, "a text of two tasks is one"


def test_a_file_alone_is_the_test_split_of_a_task(tmp_path: Path) -> None:
    tsv(tmp_path / "sts.tsv", SCORED)
    assert {name: list(splits) for name, splits in load(DataConfig(str(tmp_path / "sts.tsv"))).tasks.items()} == {
        "sts": ["test"]
    }


def test_an_inference_set_has_classes_and_trains_entailed_pairs_with_contradictions(tmp_path: Path) -> None:
    tsv(tmp_path / "nli" / "train.tsv", [*INFERENCE, ("premise 0", "undecided", "-")])
    data = load(DataConfig(str(tmp_path / "nli")))
    pairs = data.tasks["nli"]["train"]
    assert [pairs.classes[int(label)] for label in pairs.label] == [label for *_, label in INFERENCE]
    assert data.notices["pairs without an agreed label, left out"] == 1
    train = data.splits["train"]
    assert train.negatives is not None
    for row, query in enumerate(train.queries):
        premise = data.queries[query]
        of = {label: {b for a, b, c in INFERENCE if a == premise and c == label} for label in LABELS}
        assert {data.passages[p] for p in train.relevant[row]} == of["entailment"]
        assert {data.passages[p] for p in train.negatives[row]} == of["contradiction"]


def test_numbers_are_classes_where_the_columns_are_premise_and_hypothesis(tmp_path: Path) -> None:
    tsv(tmp_path / "words" / "nli" / "train.tsv", INFERENCE)
    numbers = [(a, b, str(LABELS.index(label))) for a, b, label in INFERENCE]
    tsv(tmp_path / "numbers" / "nli" / "train.tsv", [*numbers, ("a", "b", "-1")], "premise\thypothesis\tlabel")
    one, other = (load(DataConfig(str(tmp_path / place / "nli"))) for place in ("words", "numbers"))
    assert one.fingerprint == other.fingerprint


def test_without_a_train_split_an_inference_set_has_no_pairs_to_train(tmp_path: Path) -> None:
    tsv(tmp_path / "nli" / "dev.tsv", INFERENCE)
    data = load(DataConfig(str(tmp_path / "nli")))
    assert not data.splits and list(data.tasks["nli"]) == ["dev"]


def shown(place: Path) -> list[str]:
    """The lines that ``bench data inspect`` prints, with single spaces."""
    return [" ".join(line.split()) for line in render(inspect(place)).splitlines()]


def test_scored_pairs_are_inspected_with_counts_scores_lengths_and_rows(tmp_path: Path) -> None:
    write(tmp_path / "sts", "header", "train", SCORED)
    write(tmp_path / "sts", "header", "test", [(*SCORED[3][1::-1], "2"), ("another", "pair", "-1.5")])
    lines = shown(tmp_path / "sts")
    assert {"sts train 12 scores 0 to 2.5", "sts test 2 scores -1.5 to 2"} <= set(lines)
    assert "1 pairs of sts both in train and in test" in lines, "the order of the two texts does not matter"
    texts = {text for a, b, _ in SCORED for text in (a, b)} | {"another", "pair"}
    mean, longest = sum(map(len, texts)) / len(texts), max(map(len, texts))
    (lengths,) = (line.split() for line in lines if line.startswith("sentences"))
    assert lengths[1] == f"{mean:.1f}" and lengths[-1] == str(longest)
    assert not any(line.startswith(("queries", "corpus", "passages")) for line in lines)
    start = lines.index("first rows of train.tsv")
    assert lines[start + 1 : start + 4] == ["- sentence1: left 0", "sentence2: right 0 text", "score: 0"]
    assert len([line for line in lines if line.startswith("- ")]) == 3 + 2
    assert "\n\n\n" not in "\n".join(lines), "a part without lines leaves no gap"


def test_columns_of_scored_pairs_that_are_not_read_are_named(tmp_path: Path) -> None:
    rows = [{"sentence1": a, "sentence2": b, "score": float(c), "genre": "news"} for a, b, c in SCORED]
    (tmp_path / "sts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(DataConfig(str(tmp_path / "sts.jsonl"))).notices == {"columns not read of sts.jsonl: genre": 1}


def test_several_tasks_are_inspected_each_with_its_own_rows(tmp_path: Path) -> None:
    tsv(tmp_path / "two" / "A" / "test.tsv", SCORED)
    tsv(tmp_path / "two" / "B" / "test.tsv", SCORED[:6])
    lines = shown(tmp_path / "two")
    assert {"A test 12 scores 0 to 2.5", "B test 6 scores 0 to 2.5"} <= set(lines)
    assert {"first rows of A/test.tsv", "first rows of B/test.tsv"} <= set(lines)


def test_an_inference_set_is_inspected_with_its_classes_and_its_training_pairs(tmp_path: Path) -> None:
    tsv(tmp_path / "nli" / "train.tsv", INFERENCE[:-1])
    lines = shown(tmp_path / "nli")
    assert "nli train 17 contradiction 5, entailment 6, neutral 6" in lines
    assert "train 6 6" in lines and "class: entailment" in lines
    lengths = {line.split()[0]: line.split()[-1] for line in lines if line.startswith(("queries", "sentences"))}
    premises, texts = {a for a, *_ in INFERENCE}, {text for a, b, _ in INFERENCE for text in (a, b)}
    assert lengths == {"queries": str(max(map(len, premises))), "sentences": str(max(map(len, texts)))}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*SCORED, ("a", "b", "high")], "the score is no number"),
        ([*SCORED, ("a", "b", "nan")], "the score is no number"),
        ([*SCORED, ("a", " ", "1")], "no text in one of the two sentences"),
        ([*INFERENCE * 4, ("a", "b", "perhaps")], "the label is none of contradiction, entailment, neutral"),
    ],
)
def test_a_broken_row_is_named_with_its_line_and_left_out_where_allowed(
    rows: list[tuple[str, str, str]], message: str, tmp_path: Path
) -> None:
    tsv(tmp_path / "x" / "train.tsv", [*rows[:-1] * 5, rows[-1]])
    with pytest.raises(DataError, match=message) as told:
        load(DataConfig(str(tmp_path / "x")))
    assert f"train.tsv:{5 * (len(rows) - 1) + 1}" in str(told.value)
    data = load(DataConfig(str(tmp_path / "x"), skip_broken=True))
    assert len(data.tasks["x"]["train"]) == 5 * (len(rows) - 1)


def test_beside_a_corpus_a_column_of_labels_is_no_task(tmp_path: Path) -> None:
    tsv(tmp_path / "x" / "train.tsv", [(a, b, str(n % 2)) for n, (a, b, _) in enumerate(SCORED)])
    (tmp_path / "x" / "corpus.tsv").write_text("".join(f"{b}\n" for _, b, _ in SCORED))
    with pytest.raises(DataError, match="are labels or scores, no passages"):
        load(DataConfig(str(tmp_path / "x")))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_rows_of_queries_and_positives_with_scores_are_scored_pairs_unless_they_are_of_retrieval(
    suffix: str, tmp_path: Path
) -> None:
    rows = [{"query": a, "positive": b, "score": n / 20} for n, (a, b, _) in enumerate(SCORED)]

    def place(name: str, rows: list[dict[str, object]]) -> str:
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"train.{suffix}"
        frame = pd.DataFrame(rows)
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_json(path, orient="records", lines=True)
        return str(path.parent)

    assert [len(splits["train"]) for splits in load(DataConfig(place("scored", rows))).tasks.values()] == [12]
    every = load(DataConfig(str(tmp_path / "scored"), columns="query:query,positive:positive"))
    assert not every.tasks and len(every.splits["train"]) == 12
    with pytest.raises(DataError, match="'score' do not say whether a pair is relevant"):
        load(DataConfig(place("negatives", [{**row, "negative": f"wrong {row['query']}"} for row in rows])))
    with pytest.raises(DataError, match="'score' do not say whether a pair is relevant"):
        (Path(place("corpus", rows)) / "corpus.tsv").write_text("".join(f"{row['positive']}\n" for row in rows))
        load(DataConfig(str(tmp_path / "corpus")))


def test_with_columns_named_or_another_layout_of_dev_it_is_no_task(tmp_path: Path) -> None:
    rows = [(a, b, str(n % 2)) for n, (a, b, _) in enumerate(SCORED)]
    tsv(tmp_path / "x" / "train.tsv", rows)
    assert list(load(DataConfig(str(tmp_path / "x"))).tasks) == ["x"]
    data = load(DataConfig(str(tmp_path / "x"), columns="query:1,positive:2,label:3"))
    assert not data.tasks and len(data.splits["train"]) == 6
    (tmp_path / "x" / "dev.tsv").write_text("a query\ta passage\n")
    with pytest.raises(DataError, match="are labels or scores, no passages"):
        load(DataConfig(str(tmp_path / "x")))
