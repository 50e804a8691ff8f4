"""The embedded data set: summary lines as queries, the rest of their docstrings as passages.

It is read from the sources of this package's dependencies, so it needs no download. The sources are parsed, never
imported. Its content depends on the installed versions of the libraries, and so does its fingerprint.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import json
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePath

from bench.cache import Cache, cache_dir
from bench.data.build import Builder
from bench.data.dataset import DataSet
from bench.data.lines import is_text
from bench.data.validation import Problems

logger = logging.getLogger(__name__)

NAME = "docstrings"
ROOTS = ("torch", "transformers", "pandas", "scipy", "numpy", "matplotlib", "wandb", "optuna")
SUMMARY = (20, 160)  # characters
BODY = 60  # characters, at least
PASSAGE = 1000  # characters, cut at a word end
MOST_PASSAGES = 5  # a summary of more passages than this is boilerplate and no query
HELD_OUT = 0.1  # of the passages to dev, and as many to test
REVISION = 1  # to be raised when the extraction changes, so that no older cache is read

# Brought by some builds of torch only, or of the environment rather than of a library.
LEFT_OUT = re.compile(r"nvidia-|cuda-|triton|pytorch-triton|setuptools$|pip$|wheel$")
TESTS = {"test", "tests", "testing"}
# Most sources have no docstring with a one-line summary; they are not worth parsing.
SUMMARY_AND_BODY = re.compile(rb'(?:"""|\'\'\')\\?\s*[^\n]{20,}\n[ \t\r]*\n')

Documented = tuple[str, str]  # summary, passage


def read() -> DataSet:
    """The data set of the installed libraries. The first call takes about ten seconds; later calls read a cache.

    Passages are distinct; a passage whose summaries are all boilerplate has no query. Texts that share a query
    or a passage are in one split, which a hash of their text decides: no passage of train is a positive of dev
    or test, and no query is in two splits.
    """
    sources = distributions()
    documented = _cached(sources)
    passages_of: dict[str, dict[str, None]] = {}
    for summary, passage in documented:
        passages_of.setdefault(summary, {})[passage] = None
    pairs = [(q, p) for q, passages in passages_of.items() if len(passages) <= MOST_PASSAGES for p in passages]
    builder = Builder(NAME, Problems())
    for passage in dict.fromkeys(passage for _, passage in documented):
        builder.corpus(passage)
    for (query, passage), split in zip(pairs, splits(pairs), strict=True):
        builder.pair(split, query, passage, (Path(NAME), 0))
    return builder.build(Path(NAME))


def splits(pairs: Iterable[Documented]) -> list[str]:
    """The split of each (query, passage): the same for all that are linked by a shared query or passage."""
    pairs = list(pairs)
    above: dict[str, str] = {}

    def first(text: str) -> str:
        """The smallest text linked with ``text`` so far."""
        while (parent := above.setdefault(text, text)) != text:
            above[text] = above[parent]
            text = parent
        return text

    for query, passage in pairs:
        low, high = sorted((first(query), first(passage)))
        above[high] = low
    return [_split(first(query)) for query, _ in pairs]


def _split(text: str) -> str:
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    return "dev" if share < HELD_OUT else "test" if share < 2 * HELD_OUT else "train"


def distributions() -> list[Distribution]:
    """The libraries of :data:`ROOTS` and what they require on every platform, in alphabetical order.

    Requirements with a marker (an extra, a platform, a Python version) are left out, so that the data set
    is the same everywhere.
    """
    found: dict[str, Distribution] = {}
    waiting = list(ROOTS)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or LEFT_OUT.match(name):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            logger.warning("%s is not installed: its docstrings are not in the data set", name)
            continue
        for requirement in found[name].requires or []:
            if ";" not in requirement and (match := re.match(r"[\w.-]+", requirement)):
                waiting.append(match[0])
    return [found[name] for name in sorted(found)]


def _cached(sources: list[Distribution]) -> list[Documented]:
    """The results of :func:`extract` for all sources, from the cache if they are there."""
    versions = sorted(f"{source.name}=={source.version}" for source in sources)
    key = hashlib.sha256("\n".join([f"revision {REVISION}", *versions]).encode()).hexdigest()[:16]

    def make(place: Path) -> dict[str, object]:
        logger.info("reading the docstrings of %d installed libraries, once", len(sources))
        enabled = gc.isenabled()
        gc.disable()  # millions of syntax nodes without a cycle: collecting would double the time
        try:
            documented = [pair for source in sources for pair in extract(source)]
        finally:
            if enabled:
                gc.enable()
        (place / "documented.json").write_text(json.dumps(documented))
        return {}

    found = Cache(cache_dir()).entry(f"{NAME}-{key}", make)
    return [(summary, passage) for summary, passage in json.loads((found.path / "documented.json").read_bytes())]


def extract(source: Distribution) -> Iterator[Documented]:
    """``(summary, passage)`` of each public, documented class and function of a library, in file order."""
    if source.files is None:
        logger.warning("%s keeps no list of its files: its docstrings are not in the data set", source.name)
    for file in sorted(source.files or [], key=str):
        if not is_public(file):
            continue
        try:
            code = Path(str(source.locate_file(file))).read_bytes()
            if SUMMARY_AND_BODY.search(code):
                with warnings.catch_warnings(action="ignore"):  # of escapes in other people's sources
                    module = ast.parse(code)
                yield from documented_names(module, file.parts[0].removesuffix(".py"))
        except (OSError, SyntaxError, ValueError, RecursionError) as error:
            logger.info("%s of %s is left out: %s", file, source.name, error)


def is_public(file: PurePath) -> bool:
    """Whether a file is a module without a private or a test part in its path."""
    parts = [part for part in file.parts if part != "__init__.py"]
    private = any(part.startswith(("_", ".")) or part in TESTS for part in parts)
    return file.suffix == ".py" and not private


def documented_names(node: ast.Module | ast.ClassDef, package: str, scope: str = "") -> Iterator[Documented]:
    """``(summary, passage)`` of the public classes, functions and methods in ``node``, in source order.

    The docstring has a first line of 20 to 160 characters that stands alone, and 60 or more after it. The
    passage is package, qualified name and what follows the first line, cut to 1,000 characters at a word end;
    white space is normalised in both.
    """
    for child in node.body:
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if child.name.startswith("_"):
            continue
        name = scope + child.name
        first, _, rest = (ast.get_docstring(child) or "").partition("\n")
        summary, body = " ".join(first.split()), " ".join(rest.split())
        alone = not rest.split("\n", 1)[0].strip()
        if alone and SUMMARY[0] <= len(summary) <= SUMMARY[1] and len(body) >= BODY:
            passage = cut(f"{package} {name} {body}", PASSAGE)
            if is_text(summary) and is_text(passage):
                yield summary, passage
        if isinstance(child, ast.ClassDef):
            yield from documented_names(child, package, f"{name}.")


def cut(text: str, most: int) -> str:
    """``text``, or its longest beginning of whole words within ``most`` characters."""
    return text if len(text) <= most else text[: most + 1].rsplit(" ", 1)[0]
