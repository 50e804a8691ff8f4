"""The embedded data set: what it takes from sources, how it splits, and that its cache can be trusted."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import logging
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import docstrings

SOURCE = '''
"""A module docstring is neither a query nor a passage, whatever it may say.

It goes on for long enough to be a passage if it were one, which it is not."""


def plain(x):
    """Return the largest of all the values.

    The values are compared one by one, from the first to the last one,
    and the largest is returned.
    """


def two_lines(x):
    """Return the largest of all the values, in a summary that goes on
    in a second line.

    The values are compared one by one, from the first to the last one."""


def brief(x):
    """Return the largest of all the values."""


def short(x):
    """Too short.

    The values are compared one by one, from the first to the last one of them."""


def _private(x):
    """Return the largest of all the values, privately.

    The values are compared one by one, from the first to the last one of them."""


class Shape:
    """

    A thing with an area and with a border.

    \tIts area is what the border surrounds, measured in the square of the unit of its border.
    """

    async def area(self):
        r"""Area of the shape in square units \\alpha.

        It is found by adding up the areas of the triangles that the shape is made of."""

    class Inner:
        def border(self):
            """Length of the border of the shape in units.

            WORDS"""
'''.replace("WORDS", " ".join(f"word{i}" for i in range(400)))


def test_takes_what_is_public_and_documented_and_nothing_else(tmp_path: Path) -> None:
    """The reference imports the module and asks ``inspect`` for the docstrings."""
    path = tmp_path / "shapes.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("shapes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    named = [
        ("plain", module.plain),
        ("Shape", module.Shape),
        ("Shape.area", module.Shape.area),
        ("Shape.Inner.border", module.Shape.Inner.border),
    ]
    found = list(docstrings.documented_names(ast.parse(SOURCE), "shapes"))
    assert len(found) == len(named)
    for (summary, passage), (name, thing) in zip(found, named, strict=True):
        first, *rest = (inspect.getdoc(thing) or "").splitlines()
        assert summary == first
        whole = f"shapes {name} " + " ".join(" ".join(rest).split())
        assert passage == whole[: len(passage)]
        assert len(passage) == len(whole) if len(whole) <= 1000 else 990 < len(passage) <= 1000
        assert whole[len(passage) :][:1] in ("", " ")


@settings(derandomize=True, deadline=None)
@given(st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1).map(" ".join), st.integers(5, 30))
def test_cut_ends_at_a_word(text: str, most: int) -> None:
    cut = docstrings.cut(text, most)
    assert text.startswith(cut)
    assert len(cut) <= most
    assert cut == text or text[len(cut)] == " " or " " not in text[: most + 1]


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("pkg/__init__.py", True),
        ("pkg/sub/module.py", True),
        ("pkg/_private/module.py", False),
        ("pkg/_module.py", False),
        ("pkg/__main__.py", False),
        ("pkg/tests/module.py", False),
        ("pkg/testing/__init__.py", False),
        ("../../bin/tool.py", False),
        ("pkg/module.pyi", False),
    ],
)
def test_which_files_are_read(path: str, public: bool) -> None:
    assert docstrings.is_public(Path(path)) is public


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30).map("q{}".format), st.integers(0, 30).map("p{}".format))))
def test_linked_texts_are_in_one_split(pairs: list[tuple[str, str]]) -> None:
    """The reference spreads a label over shared texts until nothing changes."""
    component = list(range(len(pairs)))
    for _ in pairs:
        for i, one in enumerate(pairs):
            for j, other in enumerate(pairs):
                if one[0] == other[0] or one[1] == other[1]:
                    component[i] = component[j] = min(component[i], component[j])
    split = docstrings.splits(pairs)
    assert set(split) <= {"train", "dev", "test"}
    for i in range(len(pairs)):
        assert split[i] == split[component[i]]
    assert docstrings.splits(pairs[::-1]) == split[::-1]


def test_a_tenth_goes_to_dev_and_to_test() -> None:
    split = docstrings.splits([(f"q{i}", f"p{i}") for i in range(5000)])
    for name in ("dev", "test"):
        assert 0.08 < split.count(name) / len(split) < 0.12


def install(folder: Path, name: str, *requires: str, **modules: str) -> Distribution:
    """A distribution as it lies in site-packages."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    record = []
    for module, code in modules.items():
        path = folder / name / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        record.append(f"{name}/{module}.py,,\n")
    (info / "RECORD").write_text("".join(record))
    return Distribution.at(info)


def function(name: str, summary: str, body: str) -> str:
    return f'def {name}():\n    """{summary}\n\n    {body}\n    """\n\n\n'


LONG = "which is described at some length here, in words that are of no importance at all"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three installed libraries, ``top`` the root, and an empty cache."""
    folder = tmp_path / "site"
    bulk = "".join(function(f"f{i}", f"Do the thing of number {i}.", f"Thing {i}, {LONG}") for i in range(100))
    boiler = "".join(function(f"g{i}", "Return the thing itself.", f"Thing {i}, {LONG}") for i in range(6))
    twins = "".join(function(f"h{i}", "Return the other thing.", f"Thing {i}, {LONG}") for i in range(3))
    requires = ("below>=1", 'absent; sys_platform == "win32"', 'extra; extra == "all"', "nvidia-thing")
    install(folder, "top", *requires, bulk=bulk, boiler=boiler, twins=twins)
    install(folder, "below", "top", broken="def (:\n" + bulk, more=function("f", "Do the thing of below.", LONG))
    install(folder, "extra", more=function("f", "Do one thing too many.", LONG))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(docstrings, "ROOTS", ("top",))
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path / "cache"))
    return folder


def test_reads_the_roots_and_what_they_need_everywhere(site: Path) -> None:
    assert [source.name for source in docstrings.distributions()] == ["below", "top"]


def test_the_data_set(site: Path) -> None:
    data = docstrings.read()
    queries = {data.queries[q] for split in data.splits.values() for q in split.queries}
    assert len(data.passages) == 100 + 6 + 3 + 1
    numbered = {f"Do the thing of number {i}." for i in range(100)}
    assert queries == numbered | {"Return the other thing.", "Do the thing of below."}, "six passages: boilerplate"
    (twins,) = [
        {data.passages[p].split()[1] for p in split.relevant[row]}
        for split in data.splits.values()
        for row, q in enumerate(split.queries)
        if data.queries[q] == "Return the other thing."
    ]
    assert twins == {"h0", "h1", "h2"}
    positives = [set(split.relevant.values.tolist()) for split in data.splits.values()]
    assert sum(map(len, positives)) == len(set().union(*positives)), "no passage is positive in two splits"


def test_the_second_reading_is_from_the_cache(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = docstrings.read().fingerprint
    monkeypatch.setattr(docstrings, "extract", lambda source: pytest.fail("read the sources again"))
    assert docstrings.read().fingerprint == fingerprint


def test_a_damaged_cache_is_made_again(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    fingerprint = docstrings.read().fingerprint
    (cached,) = docstrings.cache_dir().glob("docstrings-*/documented.json")
    whole = cached.read_bytes()
    cached.write_bytes(b'[["cut')
    assert docstrings.read().fingerprint == fingerprint
    assert "made again" in caplog.text
    assert cached.read_bytes() == whole


def test_another_version_is_another_cache(site: Path) -> None:
    docstrings.read()
    metadata = site / "below-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    docstrings.read()
    assert len(list(docstrings.cache_dir().glob("docstrings-*"))) == 2


def test_a_cache_that_cannot_be_written_is_told_and_done_without(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fingerprint = docstrings.read().fingerprint
    blocked = site / "file"
    blocked.touch()
    monkeypatch.setenv("NEGBENCH_CACHE", str(blocked / "below"))
    with caplog.at_level(logging.WARNING):
        assert docstrings.read().fingerprint == fingerprint
    assert "NEGBENCH_CACHE" in caplog.text


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("NEGBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert docstrings.cache_dir() == Path("/home/someone/.cache/negbench")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert docstrings.cache_dir() == Path("/xdg/negbench")
    monkeypatch.setenv("NEGBENCH_CACHE", "/own")
    assert docstrings.cache_dir() == Path("/own")
    monkeypatch.delenv("NEGBENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda name: name)  # as of a user who has no home
    assert docstrings.cache_dir() is None
