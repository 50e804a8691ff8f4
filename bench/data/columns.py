"""The columns of a table by what they hold: queries, positives, negatives, labels; the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UserError

TRAINED_ON = ("query", "positive", "negative", "label")
ROLES = (*TRAINED_ON, "group", "passage")  # the last one is of a corpus
QUERY = (
    *("query", "anchor", "question", "premise", "sentence1", "queries", "questions", "query_text", "text_a", "text1"),
    *("sentence_a", "sentence_1", "text_1", "search_query", "prompt", "instruction"),
)
POSITIVE = (
    *("positive", "answer", "passage", "pos", "entailment", "sentence2", "positives", "positive_passages", "answers"),
    *("pos_passage", "positive_passage", "positive_text", "pos_text", "document", "doc", "context", "response"),
    *("hypothesis", "text_b", "text2", "sentence_b", "sentence_2", "text_2", "content", "text", "title", "output"),
)
NEGATIVE = re.compile(r"(hard[ _-]?)?neg(ative)?s?([ _-]?(title|text|passage|doc|document)s?)?[ _-]?\d*|contradiction")
LABEL = ("label", "labels", "gold_label", "is_relevant", "relevant", "relevance", "is_duplicate")
SCORE = ("score", "scores", "similarity", "similarity_score")
PASSAGE = ("text", "passage", "contents", "content", "document", "doc", "body", "passages", "corpus", "sentence")
TITLE = ("title",)
ID = (
    *("_id", "id", "docid", "doc_id", "pid", "passage_id", "corpus-id", "corpus_id", "qid", "query_id", "query-id"),
    *("topic_id", "document_id", "index", "idx", ""),
)
SCORES_OF = re.compile(r"(.+)_scores")


def is_name(cell: str) -> bool:
    """Whether a cell is a name that some table gives a column."""
    name = cell.strip().lower()
    known = (QUERY, POSITIVE, LABEL, SCORE, PASSAGE, TITLE, ID)
    return any(name in names for names in known) or NEGATIVE.fullmatch(name) is not None


def looks_like_name(cell: str) -> bool:
    """Whether a cell is short and plain enough for a column's name in any language."""
    return len(cell) <= 40 and len(cell.split()) <= 3 and re.fullmatch(r"[\w .:/#()\[\]&+-]*", cell) is not None


def parse(setting: str | None) -> dict[str, tuple[str, ...]]:
    """The columns by role of ``data.columns``: ``"query:question,negative:bad"``.

    Raises :class:`UserError` for an unknown role, or two columns of a role that takes one.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    for entry in setting.split(",") if setting else ():
        role, separator, name = (word.strip() for word in entry.partition(":"))
        if role not in ROLES or not separator or not name:
            raise UserError(
                f"data.columns={setting!r}: {entry.strip()!r} is not ROLE:COLUMN with a role of {', '.join(ROLES)}; "
                "write it as \"data.columns='query:question,positive:answer'\""
            )
        if role in chosen and role in ("query", "label", "group", "passage"):
            raise UserError(f"data.columns={setting!r} names two columns for {role}; it takes one")
        chosen[role] = (*chosen.get(role, ()), name)
    return chosen


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what; ``unread`` are the others."""

    query: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()
    label: str | None = None
    unread: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, names: Sequence[str], chosen: Mapping[str, Sequence[str]], named: bool, lenient: bool = False
    ) -> Columns | str:
        """The columns of a table of training rows, or what is missing.

        ``chosen`` are those of the setting ``data.columns``, of which a number is a position, counted from 1. Columns
        without names (``named`` is False) are query, positive and negatives in this order. With ``lenient`` a chosen
        negative or label need not be there.
        """
        if chosen.keys() - {"group", "passage"}:
            return cls._chosen(names, chosen, lenient)
        grouped = {column(name, names) for name in chosen.get("group", ())}
        names = [name for name in names if name not in grouped]
        if not named:
            if len(names) < 2:
                return "one column only, and a pair has a query and a passage"
            return cls(names[0], (names[1],), tuple(names[2:]))
        query, positive = known(names)
        if query is None or positive is None:
            found = {"the query": query, "the positive passage": positive}
            return f"no column is known as {' or '.join(what for what, name in found.items() if name is None)}"
        negative = tuple(name for name in names if NEGATIVE.fullmatch(name.strip().lower()))
        by_name = _by_name(names)
        label = next((by_name[name] for name in (*LABEL, *SCORE) if name in by_name), None)
        return cls(query, (positive,), negative, label, _rest(names, (query, positive, label, *negative)))

    @classmethod
    def _chosen(cls, names: Sequence[str], chosen: Mapping[str, Sequence[str]], lenient: bool) -> Columns | str:
        found: dict[str, tuple[str, ...]] = {}
        for role in TRAINED_ON:
            columns = [column(name, names) for name in chosen.get(role, ())]
            if None in columns and not (lenient and role in ("negative", "label")):
                return f"there is no column {chosen[role][columns.index(None)]!r}, which data.columns names"
            found[role] = tuple(name for name in columns if name is not None)
        if not found["query"] or not found["positive"]:
            return "data.columns names only one of query and positive"
        (query,), label = found["query"], found["label"]
        used = (query, *found["positive"], *found["negative"], *label)
        if len(set(used)) < len(used):
            return "data.columns uses one column twice"
        return cls(query, found["positive"], found["negative"], label[0] if label else None, _rest(names, used))


def known(names: Sequence[str]) -> tuple[str | None, str | None]:
    """The columns that are known by their names as the query and as the positive passage."""
    by_name = _by_name(names)
    query = next((by_name[name] for name in QUERY if name in by_name), None)
    positive = next((by_name[name] for name in POSITIVE if name in by_name and by_name[name] != query), None)
    return query, positive


def proposed(names: Sequence[str]) -> str | None:
    """A setting ``data.columns`` for a table with these columns, None where there are too few.

    A known column has its own role. The first others that may hold texts have what is missing.
    """
    query, positive = known(names)
    no_texts = (*ID, *LABEL, *SCORE)
    named = {name: name.strip().lower() for name in names if name not in (query, positive)}
    others = (name for name, low in named.items() if low not in no_texts and not NEGATIVE.fullmatch(low))
    query = query or next(others, None)
    positive = positive or next(others, None)
    return None if query is None or positive is None else f"query:{query},positive:{positive}"


def _by_name(names: Sequence[str]) -> dict[str, str]:
    return {name.strip().lower(): name for name in reversed(names)}


def column(wanted: str, names: Sequence[str]) -> str | None:
    """The column that is called ``wanted`` (case does not matter), or is at that position, counted from 1."""
    for name in names:
        if name == wanted or name.strip().lower() == wanted.lower():
            return name
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return names[int(wanted) - 1]
    return None


def _rest(names: Sequence[str], used: Sequence[str | None]) -> tuple[str, ...]:
    """The columns that are not used; a teacher's scores of a used one are."""
    scores = {name for name in names if (match := SCORES_OF.fullmatch(name)) and match[1] in used}
    return tuple(name for name in names if name not in used and name not in scores and name.strip())
