"""The report of a set of runs as Markdown: records in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

import pandas as pd

from bench.compare.cells import group
from bench.record.record import Record
from reports.documented import Documented, documented
from reports.table import UNTRAINED, summarise

_KINDS = {"recall": "R", "mrr": "MRR", "ndcg": "nDCG"}
_COSTS = {
    "train_s": "train s",
    "pairs_per_s": "pairs/s",
    "texts_encoded": "texts",
    "mine_s": "mining s",
    "texts_per_s": "encode texts/s",
    "search_s": "search s",
    "peak_memory_mb": "peak MB",
}
_TOLD = {
    "negatives": "negatives",
    "effective_negatives": "effective",
    "hardest_similarity": "hardest cosine",
    "positive_rank": "positive's rank",
    "active": "active",
    "labelled_masked": "masked by label",
    "drawn_above": "above by miner",
    "guide_above": "above by guide",
}
_NOTES = """\
Percent, of the HNSW index; *exact* is exhaustive search over the same vectors. *n* is the number of seeds:
with n=1 nothing here says whether a difference would be seen again; otherwise mean±standard deviation over
seeds."""


def render(
    records: Iterable[Record], skipped: Iterable[tuple[Path, str]], known: Sequence[Documented] | None = None
) -> str:
    """The whole report: a section for every data set, encoder and split, published rows, records left out.

    ``skipped`` names records that could not be used and why; ``known`` are the published rows to show, by
    default all of :func:`reports.documented.documented`.
    """
    table = summarise(records)
    parts = ["# Runs"]
    if table.empty:
        parts.append("There is no finished run.")
    else:
        parts.append(_NOTES)
        parts += [_section(rows) for _, rows in table.groupby("section")]
    parts.append(_published(table, documented() if known is None else known))
    lines = [f"- `{path}`: {why}" for path, why in skipped]
    if lines:
        parts.append("\n".join(["## Records left out", "", *lines]))
    return "\n\n".join(part for part in parts if part) + "\n"


def pipe_table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table whose columns line up in plain text; all but the first ``words`` are flush right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [c.ljust(w) if n < words else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * w) if n < words else "-" * (w - 1) + ":" for n, w in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *(line(row) for row in cells[1:])])


def _section(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    title = f"## {first['data']}, {first['split']}: {first['backbone']} {first['encoder']}".strip()
    # Columns that only other sections have hold nothing here.
    rows = rows.dropna(axis="columns", how="all")
    return "\n\n".join(
        part
        for part in (
            title,
            f"Data `{first['fingerprint'][:12]}`.",
            _main(rows),
            _parts(rows),
            _negatives(rows),
            _cost(rows),
            _commands(rows),
        )
        if part
    )


def _main(rows: pd.DataFrame) -> str:
    names = _metrics(rows)
    exact = [name for name in ("exact/recall@1", "exact/recall@10") if name in rows]
    header = ["strategy", "n", *map(_short, names), *(f"exact {_short(name)}" for name in exact)]
    body = [
        [
            _label(row),
            f"n={row['n']}",
            *(_number(row, name, spread=True) for name in names),
            *(_number(row, name) for name in exact),
        ]
        for _, row in rows.iterrows()
    ]
    return pipe_table(header, body)


def _parts(rows: pd.DataFrame) -> str:
    """Each part of the split beside the whole of it, metric by metric."""
    prefixes = {str(name).partition("/")[0] for name in rows if "@" in str(name) and "/" in str(name)}
    parts = sorted(prefixes - {"exact", "cost", "told"})
    shown = [name for name in _metrics(rows) if name in ("recall@1", "recall@10", "mrr@10")]
    if not parts or not shown:
        return ""
    whole = str(rows.iloc[0]["split"])
    columns = [(of, name) for name in shown for of in (whole, *parts)]
    header = ["strategy", *(f"{of} {_short(name)}" for of, name in columns)]
    body = [
        [_label(row), *(_number(row, name if of == whole else f"{of}/{name}") for of, name in columns)]
        for _, row in rows.iterrows()
    ]
    return "### Parts\n\n" + pipe_table(header, body)


def _negatives(rows: pd.DataFrame) -> str:
    """How hard the negatives were, how many pulled, and how many were answers."""
    trained = rows[rows["strategy"] != UNTRAINED]
    told = [name for name in _TOLD if f"told/{name}" in trained]
    if not told:
        return ""
    header = ["strategy", *(_TOLD[name] for name in told)]
    shares = ("active", "labelled_masked", "drawn_above", "guide_above")
    body = [
        [_label(row), *(_share(row[f"told/{n}"]) if n in shares else _amount(row[f"told/{n}"]) for n in told)]
        for _, row in trained.iterrows()
    ]
    note = (
        "Means over the training: of the batch's negatives, how many there are for a query and how many of them pull; "
        "the cosine of the hardest; shares of queries with a loss, of candidates masked as labelled answers, of "
        "sampled negatives above the positive by the miner's score, and of all negatives above it by a guide's or a "
        "judge's."
    )
    return f"### Negatives\n\n{fill(note, 118)}\n\n" + pipe_table(header, body)


def _share(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.2%}"


def _cost(rows: pd.DataFrame) -> str:
    trained = rows[rows["strategy"] != UNTRAINED]
    costs = [name for name in _COSTS if f"cost/{name}" in trained]
    if not costs:
        return ""
    devices = list(dict.fromkeys(trained["device"]))
    where = ["device"] if len(devices) > 1 else []
    header = ["strategy", *where, *(_COSTS[name] for name in costs)]
    body = [
        [_label(row), *row[where], *(_amount(row[f"cost/{name}"]) for name in costs)] for _, row in trained.iterrows()
    ]
    note = "Mean over seeds; *texts* are those encoded while training." + ("" if where else f" Device: {devices[0]}.")
    return f"### Cost\n\n{note}\n\n" + pipe_table(header, body, words=1 + len(where))


def _commands(rows: pd.DataFrame) -> str:
    lines = []
    for _, row in rows.iterrows():
        if row["commands"]:
            seeds = "seed" if row["n"] == 1 else "seeds"
            lines += [f"# {_label(row)}, {seeds} {', '.join(map(str, row['seeds']))}", *row["commands"]]
    return "\n".join(["### Commands", "", "```sh", *lines, "```"])


def _published(table: pd.DataFrame, known: Sequence[Documented]) -> str:
    """Published rows by data set, each set with what keeps it from being compared with the runs."""
    here = [] if table.empty else list(dict.fromkeys(zip(table["data"], table["backbone"], strict=True)))
    parts = []
    for data, rows in group(known, lambda row: row.data).items():
        names = sorted({name for row in rows for name in row.metrics}, key=_cut_off)
        header = ["published", "backbone", *map(_short, names), "comparable?"]
        body = []
        for row in rows:
            apart = min((row.differs(*ours) for ours in here), key=len, default="data and backbone")
            verdict = f"no: other {apart}" if apart else "yes"
            values = [f"{row.metrics[name]:.2f}" if name in row.metrics else "" for name in names]
            body.append([row.label, row.backbone or "not stated", *values, verdict])
        parts += [f"### {data}", pipe_table(header, body, words=2), _caveats(rows)]
    return "\n\n".join(["## Documented rows", *parts]) if parts else ""


def _caveats(rows: Sequence[Documented]) -> str:
    """Source and caveats of all rows, then of each row what is its own."""
    first = rows[0]
    shared = [text for text in first.caveats if all(text in row.caveats for row in rows)]
    lines = [f"- Source: {first.source}. " + " ".join(shared)]
    for row in rows:
        own = [text for text in row.caveats if text not in shared]
        if row.source != first.source:
            own.insert(0, f"Source: {row.source}.")
        if own:
            lines.append(f"- {row.label}, {row.backbone or 'backbone not stated'}: " + " ".join(own))
    return "\n".join(fill(line, 110, subsequent_indent="  ", break_on_hyphens=False) for line in lines)


def _metrics(rows: pd.DataFrame) -> list[str]:
    """Names of the metrics of the HNSW index on the whole split, by kind and cut-off."""
    return [
        name
        for kind in _KINDS
        for name in sorted((str(c) for c in rows if str(c).startswith(f"{kind}@")), key=_cut_off)
        if not name.endswith(" sd")
    ]


def _cut_off(name: str) -> int:
    return int(name.partition("@")[2].split()[0])


def _short(name: str) -> str:
    kind, _, k = name.rpartition("/")[2].partition("@")
    return f"{_KINDS[kind]}@{k}"


def _label(row: pd.Series) -> str:
    return f"{row['strategy']} {row['setting']}".strip()


def _number(row: pd.Series, name: str, spread: bool = False) -> str:
    value, sd = row.get(name), row.get(f"{name} sd") if spread else None
    if value is None or pd.isna(value):
        return ""
    return f"{value:.2f}" if sd is None or pd.isna(sd) else f"{value:.2f}±{sd:.2f}"


def _amount(value: float | None) -> str:
    """Three figures are enough for a cost."""
    if value is None or pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
