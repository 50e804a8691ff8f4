"""A directory of TAB-separated files, such as PaddleNLP's literature search.

``train``, ``dev``, ``test`` (``query TAB passage``; in train a third field may hold a negative), ``corpus``
(``passage``) and ``unsupervised`` (``text``), each ``.tsv``, ``.csv`` (still TAB-separated) or
``.txt``, each optionally ``.gz``; no header and no quoting. ``dev_hard.tsv`` names the part ``dev_hard`` of
``dev``.
DataSource of the layout: PaddleNLP, ``applications/neural_search/recall/in_batch_negative/data.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.data.build import SPLITS, Builder
from bench.data.dataset import DataSet
from bench.data.formats.base import Format, has_any
from bench.data.lines import find, records
from bench.data.validation import Problems

SUFFIXES = (".tsv", ".csv", ".txt")
UNSUPERVISED = ("unsupervised", "train_unsupervised")
PART = re.compile(r"((train|dev|test)_\w+)\.(tsv|csv|txt)(\.gz)?")


def read(path: Path) -> DataSet:
    """The data set in the directory ``path``; splits that have no file are left out.

    Equal corpus lines are one passage. A positive of train need not be in the corpus (in literature search it
    is a title with keywords); one of dev or test must be. Raises :class:`DataError`.
    """
    problems = Problems()
    builder = Builder(path.name, problems)
    corpus = find(path, ["corpus"], SUFFIXES)
    if corpus is None:
        problems.add(path, 0, "no corpus file (corpus.tsv, .csv or .txt, plain or .gz)")
        problems.raise_if_any()
    else:
        for _, (text,) in records(corpus, 1, problems):
            builder.corpus(text)
    for split in SPLITS:
        if file := find(path, [split], SUFFIXES):
            for line, (query, positive, *negatives) in records(file, 2, problems, optional=split == "train"):
                builder.pair(split, query, positive, (file, line), repeatable=bool(negatives))
                for negative in negatives:
                    builder.negative(split, query, negative)
    for file in sorted(path.iterdir()):
        match = PART.fullmatch(file.name)
        if match and match[1] not in UNSUPERVISED:
            pairs = ((line, query, positive) for line, (query, positive) in records(file, 2, problems))
            builder.part(match[1], match[2], pairs, file)
    if file := find(path, UNSUPERVISED, SUFFIXES):
        builder.unlabelled.extend(text for _, (text,) in records(file, 1, problems))
    return builder.build(path)


FORMAT = Format(
    "TAB-separated",
    "corpus, train, dev or test as .tsv, .csv or .txt, plain or .gz",
    lambda place: place.is_dir() and has_any(place, ["corpus", *SPLITS], SUFFIXES),
    read,
)
