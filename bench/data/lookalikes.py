"""Columns that look like texts of a format and are none: labels, scores and ids in the place of queries or passages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?(e[-+]?\d+)?\s*", re.IGNORECASE)
CODE = re.compile(r"\s*(?=\S*\d)[A-Za-z0-9_.:/-]+\s*")
LABELS = {
    *("entailment", "neutral", "contradiction", "true", "false", "yes", "no", "positive", "negative", "pos", "neg"),
    *("relevant", "irrelevant", "not relevant", "not_relevant", "-", "label", "score"),
}
FEW, SHORT, TIMES = 10, 20, 8  # distinct values, characters, and uses of each, from which values are no passages
ENOUGH = 10  # texts that say something about all

NOT_THE_FIRST = (
    "are they ids or labels? Name the columns in a first line such as id TAB query TAB passage, or with "
    "\"data.columns='query:2,positive:3'\""
)
WHAT_TO_DO = (
    "name the columns in a first line such as query TAB passage TAB label, or with "
    "\"data.columns='query:1,positive:2,label:3'\": rows of label 1 are then pairs, and those of 0 negatives"
)


def ids(found: Counter[str]) -> str:
    """What was found, if queries, counted by pairs, are ids: numbers that count up, many, or a few in many rows."""
    queries = list(found)
    if not queries or not all(map(NUMBER.fullmatch, queries)):
        return ""
    start = int(queries[0]) if queries[0].isdecimal() else 0
    rising = len(queries) > 2 and queries == [str(start + i) for i in range(len(queries))]
    if len(queries) < ENOUGH and not rising and found.total() < max(ENOUGH, TIMES * len(queries)):
        return ""
    return f"{', '.join(queries[:3])} ...; {NOT_THE_FIRST}"


def codes(texts: Collection[str]) -> str:
    """The first of many texts that are all one word with a digit in it, as ids are."""
    alike = len(texts) >= ENOUGH and all(map(CODE.fullmatch, texts))
    return f"{', '.join(list(texts)[:3])} ..." if alike else ""


def labels(passages: Counter[str], positives: Collection[str] = ()) -> str:
    """What was found, if the passages of a column are labels or scores.

    They are when all are numbers or words for labels, or a few short values that are used again and again and are no
    ``positives``, which are the passages of another column.
    """
    if not passages:
        return ""
    words = all(NUMBER.fullmatch(text) or text.strip().lower() in LABELS for text in passages)
    few = bool(positives) and len(passages) <= FEW and passages.total() >= TIMES * len(passages)
    short = few and all(len(text) <= SHORT and text not in positives for text in passages)
    if not short and not (words and (positives or passages.total() >= ENOUGH)):
        return ""
    shown = ", ".join(f"{text!r} {times:,} ×" for text, times in passages.most_common(4))
    return f"{shown}; {WHAT_TO_DO}"
