"""A report as text and as a page: tables that are tables, pictures with words, and nothing that breaks either."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from records import Runs
from tiny import bench

from bench.record.ledger import read
from bench.record.store import RunDirectory
from reports import markdown
from reports.blocks import Cell, Prose, Row, Section, Table, table
from reports.markdown import pipe_table
from reports.parts import parts
from reports.report import build, text


def tables(markdown: str) -> list[list[list[str]]]:
    """The pipe tables of a Markdown text: rows of cells."""
    found: list[list[list[str]]] = []
    inside = False
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        inside = line.startswith("|")
    return found


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert tables(pipe_table(["a", "b"], [["x|y", "1"]])) == [[["a", "b"], ["----", "--:"], ["x\\|y", "1"]]]


def test_every_table_is_a_table_and_prose_fits_the_page(runs_dir: Path) -> None:
    shown = text(build(read(runs_dir), runs_dir))
    for rows in tables(shown):
        assert len({len(row) for row in rows}) == 1
        assert all(re.fullmatch("-+:?", cell) for cell in rows[1])
    prose = [line for line in shown.splitlines() if not line.startswith(("|", "#", "!", "<", "bench"))]
    assert max(map(len, prose)) <= 120
    assert shown.count("<details>") == shown.count("</details>")


def test_a_folded_part_and_commands_fold_in_markdown() -> None:
    inner = Table(("a",), (Row((Cell("x"),), ("bench run strategy=x",)),))
    shown = markdown.render([Section("T", (inner, Prose("`a` b")), folded=True)])
    assert shown.startswith("<details>\n<summary>T</summary>\n\n| a")
    assert "# x\nbench run strategy=x" in shown and shown.count("</details>") == 2


def test_an_empty_number_is_an_empty_cell() -> None:
    from reports.blocks import amount, number, share

    for maker in (number, amount, share):
        assert maker(None).text == maker(float("nan")).text == ""
    assert table(["a"], [["x"]]).rows[0].cells == (Cell("x"),)


def test_what_rounds_to_zero_has_no_minus() -> None:
    from reports.blocks import number

    assert number(-0.004).text == "0.00" and number(-0.004, sign=True).text == "+0.00" == number(0.0, sign=True).text
    assert number(-0.006).text == "-0.01"


def test_markup_in_a_text_is_none_in_markdown() -> None:
    evil = "a</details><img src=x>`<b>`"
    shown = markdown.render([Section(evil, (Prose(evil), table(["t"], [[evil]])))])
    assert "</details>" not in shown and "<img" not in shown and shown.count("`<b>`") == 3


# The page and its files


class Page(HTMLParser):
    """Open and closed tags, and what the page would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.pictures: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.fetched += [str(named[name]) for name in ("src", "href", "xlink:href") if named.get(name)]
        if tag == "svg" and named.get("role") == "img":
            self.pictures.append(named.get("aria-label") or "")
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_else_and_every_picture_has_words(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("report", "--runs-dir", str(runs_dir), "--out", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert not page.open
    assert all(link.startswith(("#", "data:")) for link in page.fetched), page.fetched
    names = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert names == {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert len(page.pictures) == len(names) >= 3 and all(page.pictures)
    pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", (tmp_path / "out" / "report.md").read_text())
    assert {Path(path).stem for _, path in pictures} == names
    assert all((tmp_path / "out" / path).is_file() for _, path in pictures)


def test_the_same_records_give_the_same_files(runs_dir: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert bench("report", "--runs-dir", str(runs_dir), "--out", str(tmp_path / name)) == 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files and all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_marks_say_their_values(runs_dir: Path) -> None:
    report = build(read(runs_dir), runs_dir, figures=runs_dir / "figures")
    row = parts(read(runs_dir).records, runs_dir, "recall@1")[0].comparison.rows[0]
    hints = re.findall(r"<title>(.+?)</title>", report.pictures["faq-quality"])
    assert any(
        hint.startswith(f"{row.group.label}: recall@1 {row.metrics['recall@1'].mean:.2f}, n=3") for hint in hints
    )


def test_a_long_setting_does_not_break_a_figure(tmp_path: Path) -> None:
    knobs = {f"a_rather_long_name_{n}": 0.123456789 for n in range(9)}
    other = dict.fromkeys(knobs, 1.0)
    runs = Runs({"mnr": 0.5, "in_batch": 0.6}, knobs=knobs)
    runs.records += Runs({"mnr": 0.5}, knobs=other, run_id="x").records[:1]
    for record in runs.records:
        with RunDirectory.open(tmp_path, record.run_id) as directory:
            directory.write_record(record)
    report = build(read(tmp_path), tmp_path, figures=tmp_path / "figures")
    assert "…" in report.pictures["faq-quality"]


def test_what_a_person_named_cannot_break_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>`x`|y"
    changes = {"data": {"name": evil, "fingerprint": "f", "counts": {}}, "command": f"bench run data='{evil}' seed=1"}
    Runs({"mnr": 0.5, "in_batch": 0.6}, **changes).write(tmp_path / "runs")
    assert bench("report", "--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out")) == 0
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert not page.open and not any(path.name != path.name.strip("<>/") for path in (tmp_path / "out").rglob("*"))
    assert "<script>alert" not in (tmp_path / "out" / "report.html").read_text().replace("&lt;script&gt;", "")
