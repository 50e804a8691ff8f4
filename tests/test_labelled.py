"""Pairs of texts of several tasks as examples, a teacher's view of any examples, and inference sets as pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from ranks import together
from toys import DATA, Training

from bench.data.dataset import Ragged, Split, TextPairs
from bench.data.pairs import Pairs
from bench.train.examples import Texts, examples_of
from bench.train.labelled import LabelledExamples
from bench.train.step import Stepper
from bench.world import World
from strategies import registered
from strategies.examples import ClassifiedPairs, Examples, ScoredPairs, TaskPairs

LEFT, RIGHT = np.array([0, 1, 2]), np.array([5, 3, 4])
TASKS = {
    "binary": {"train": TextPairs(LEFT, RIGHT, np.float32([0, 1, 1]))},
    "graded": {"train": TextPairs(LEFT + 6, RIGHT + 6, np.float32([4, 2, 3])), "test": TextPairs(LEFT, LEFT, LEFT)},
    "xnli": {"train": TextPairs(LEFT + 12, RIGHT + 12, np.float32([0, 1, 2]), ("no", "perhaps", "yes"))},
    "snli": {"train": TextPairs(LEFT + 18, RIGHT + 18, np.float32([0, 0, 1]), ("yes", "no"))},
}


def examples(declared: Examples, tasks: Mapping[str, Mapping[str, TextPairs]] = TASKS) -> LabelledExamples:
    training = Training(registered()["mnr"]())
    data = replace(DATA, tasks=tasks)
    found = examples_of(
        declared,
        Texts(data, training.queries, training.passages, lambda texts: training.queries, 16, 0, training.encoder),
    )
    assert isinstance(found, LabelledExamples)
    return found


def test_scores_of_each_task_go_from_0_to_1() -> None:
    found = examples(ScoredPairs())
    assert found.label.tolist() == [0, 1, 1, 1, 0, 0.5] and found.label.dtype == np.float32
    assert found.left.tolist() == [*LEFT, *(LEFT + 6)] and found.right.tolist() == [*RIGHT, *(RIGHT + 6)]


def test_without_scores_the_classes_of_inference_have_an_order() -> None:
    inferred = TextPairs(LEFT, RIGHT, np.float32([0, 1, 2]), ("entailment", "contradiction", "neutral"))
    found = examples(ScoredPairs(), {"snli": {"train": inferred}, "other": TASKS["xnli"]})
    assert found.label.tolist() == [1, 0, 0.5] and found.left.tolist() == LEFT.tolist()
    with_scores = examples(ScoredPairs(), {"snli": {"train": inferred}, "graded": TASKS["graded"]})
    assert with_scores.left.tolist() == (LEFT + 6).tolist()


def test_classes_of_one_name_are_one_class() -> None:
    found = examples(ClassifiedPairs(3))
    names = np.array(["no", "perhaps", "yes"])
    assert names[found.label].tolist() == ["no", "perhaps", "yes", "yes", "yes", "no"]
    assert found.left.tolist() == [*(LEFT + 12), *(LEFT + 18)]


def test_without_labels_the_pairs_of_all_tasks_are_examples() -> None:
    found = examples(TaskPairs())
    assert len(found) == 12 and not found.label.any()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("texts", ["pairs", "tasks", "unlabelled", "corpus"])
def test_a_teacher_that_is_the_student_teaches_nothing(texts: str, ranks: int) -> None:
    """So it sees the texts of the batch, in their order, whatever they are and whichever rank has them."""
    kind = registered()["similarity_distil"]
    trainings = [Training(kind(texts=texts, teacher=name), dropout=0.0) for name in ["start"] * ranks + ["other"]]
    ready = [(t.learner(t.strategy), t.objective(t.strategy, t.directory)) for t in trainings]

    def loss(world: World) -> float:
        return Stepper(*ready[world.rank], "fp32", None, world).backward(np.arange(9), None)[1].value.item()

    assert max(together(ranks, loss)) < 1e-8
    assert Stepper(*ready[-1], "fp32").backward(np.arange(9), None)[1].value > 0.01


def test_an_inference_set_trains_mnr_without_repetitions_in_a_batch() -> None:
    """A premise is drawn twice, with two entailments and one contradiction, which another premise has too.

    As in Sentence Transformers' batches without duplicates, no entailment of a premise is its negative, and every
    passage counts once.
    """
    entailed = {0: [0, 1], 3: [2], 6: [9]}
    contradicted = {0: [7], 3: [7], 6: []}
    split = Split(
        np.array(list(entailed)), Ragged.of(list(entailed.values())), negatives=Ragged.of(list(contradicted.values()))
    )
    training = Training(registered()["mnr"](provided=1), dropout=0.0)
    training.data = replace(DATA, splits={"train": split})
    training.pairs = Pairs(split)
    objective = training.objective(training.strategy, training.directory)
    rows = np.arange(4)
    batch, loss = Stepper(training.learner(training.strategy), objective, "fp32").backward(
        rows, objective.sampler.draw(rows, 0)
    )
    columns = [0, 1, 2, 7, 9]
    assert len(batch.candidates) == len(columns)
    pairs = [(0, 0), (0, 1), (3, 2), (6, 9)]
    cosine = (batch.queries @ batch.candidates.T).tolist()
    for row, (premise, positive) in enumerate(pairs):
        wrong = [c for c in columns if c not in entailed[premise]]
        logits = {c: 20 * cosine[row][place] for place, c in enumerate(columns)}
        total = sum(math.exp(logits[c]) for c in [positive, *wrong])
        assert loss.per_example[row].item() == pytest.approx(math.log(total) - logits[positive], abs=1e-5)
    assert torch.isfinite(loss.value)
