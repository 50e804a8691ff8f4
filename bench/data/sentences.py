"""Sentences of documents, in Chinese and in languages with spaces: where they end, what they are made of."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence

from bench.data.sources import clean

LEAST, MOST = 5, 64  # units of a sentence; RoFormer-Sim reads 64 tokens
LETTERS = 0.5  # least share of letters among what is not white space

_ALONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # scripts without spaces: kana and Han
_UNIT = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")
_HIDDEN = re.compile(r"(?s)<!--.*?-->|<(script|style)\b.*?</\1\s*>")
_BREAK = re.compile(r"(?i)</?(p|br|div|li|ul|ol|tr|td|th|table|title|h[1-6])\b[^<>]*>")
_INLINE = re.compile(r"</?[A-Za-z][^<>]*>|\[\d+\]")  # [1] refers to a note
_UNSEEN = re.compile("[\u00ad\u0080-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]")
_URL = re.compile(r"(?i)https?:|www\.|\S@\w+\.\w")
_MARKUP = re.compile(r"[{}|\\]|\[\[|\]\]|==|</|&\w+;|\]\(")

_CLOSING = "”’」』）》】\"')\\]"
_END = re.compile(rf"\n|[。！？…｡]+[{_CLOSING}]*|[.!?]+[{_CLOSING}]*(?=\s+(\S))")
_BEFORE_A_NAME = {"mr", "mrs", "ms", "dr", "prof", "st", "vs", "no", "fig", "eq", "vol", "cf", "e.g", "i.e"}


def units(text: str) -> list[str]:
    """The Chinese characters of a text, and the words of what is written with spaces, without case and punctuation."""
    return _UNIT.findall(unicodedata.normalize("NFKC", text).casefold())


def sentences(document: str) -> Iterator[str]:
    """The sentences of a document without its tags, each in NFC and with single spaces.

    A line ends a sentence, and so do Chinese marks, and Latin ones before a space and no small letter. The full stop of
    an initial or a title (``Dr.``) does not.
    """
    text = _INLINE.sub("", _BREAK.sub("\n", _HIDDEN.sub("\n", document)))
    text = _UNSEEN.sub("", html.unescape(text))
    start = 0
    for end in _END.finditer(text):
        if not (end[1] and _goes_on(text[start : end.end()], end[1])):
            if sentence := clean(text[start : end.end()]):
                yield sentence
            start = end.end()
    if sentence := clean(text[start:]):
        yield sentence


def _goes_on(so_far: str, following: str) -> bool:
    """Whether a Latin mark at the end of ``so_far``, before ``following``, is inside a sentence."""
    if following.islower():
        return True
    word = so_far.split()[-1].casefold().strip("(\"'“‘[")
    return word.endswith(".") and (word[:-1] in _BEFORE_A_NAME or re.fullmatch(r"([^\W\d]\.)+", word) is not None)


def fault(sentence: str, of: Sequence[str]) -> str | None:
    """The rule that a sentence with the units ``of`` breaks, None where it may be trained on."""
    if _URL.search(sentence):
        return "an address (URL or e-mail)"
    if _MARKUP.search(sentence):
        return "markup"
    if len(of) < LEAST:
        return f"fewer than {LEAST} Chinese characters or words"
    if len(of) > MOST:
        return f"more than {MOST} Chinese characters or words"
    written = "".join(sentence.split())
    if sum(map(str.isalpha, written)) < LETTERS * len(written):
        return "mostly digits and punctuation"
    return None
