"""Training of a comparison's rows: how hard their negatives were, and each cost in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from bench.compare.comparison import Comparison
from bench.compare.row import StrategyRow
from reports.blocks import Cell, Figure, Prose, Section, Table, amount, section, share, table

_COSTS = {
    "train_s": "train s",
    "pairs_per_s": "training pairs/s",
    "texts_encoded": "texts encoded",
    "mine_s": "mining s",
    "texts_per_s": "encoding texts/s",
    "search_s": "search s",
    "peak_memory_mb": "peak MB",
}
_NEGATIVES = {
    "negatives": "negatives",
    "effective_negatives": "effective negatives",
    "hardest_similarity": "hardest negative's cosine",
    "positive_rank": "positive's rank",
    "active": "active queries",
    "labelled_masked": "masked by label",
    "drawn_above": "above positive (miner)",
    "guide_above": "above positive (judge)",
}
_SHARES = ("active", "labelled_masked", "drawn_above", "guide_above")
_NOTE = (
    "Means over training. `negatives` is their number for a query; `effective negatives` is how many of them carry "
    "gradient. `active queries` is the share of queries whose loss is above zero. `masked by label` is the share of "
    "candidates masked because they are labelled relevant. `above positive (miner)` is the share of sampled negatives "
    "that the miner scores above the positive, and `above positive (judge)` the share of all negatives that a judge "
    "scores above it (`mining.judge`, or the strategy's own guide): these may be unlabelled answers."
)


_PAIR = "pair_similarity"
_LABELLED = {
    _PAIR: "pair's cosine",
    f"{_PAIR}_p10": "10 % below",
    f"{_PAIR}_p50": "50 % below",
    f"{_PAIR}_p90": "90 % below",
    "active": "active pairs",
    "spread": "spread",
}
_LABELLED_NOTE = (
    "Means over training, of rows that train on pairs with a score or a class. `pair's cosine` is that of the two "
    "texts of a pair, beside its quantiles. `active pairs` is the share of pairs whose loss is above zero. `spread` is "
    "the standard deviation of a text's cosines with the batch's other side; near zero all texts have one embedding."
)


_GEOMETRY = {
    "mean_norm": "length of the mean",
    "hubness@10": "hubness",
    "index_loss@1": "index loss, Recall@1",
    "index_loss@10": "index loss, Recall@10",
}
_GEOMETRY_NOTE = (
    "Means over seeds. `length of the mean` is that of the mean of the corpus' unit vectors: near 1 all point the same "
    "way. `hubness` is the skewness of how often a passage is among the first ten; where it is high, few passages are "
    "near to many queries. `index loss` is how many points of recall exact search finds more than the index. Vectors "
    "with a long mean and many hubs lose more; a larger `index.ef_construction` and `index.ef` lose less."
)


def telemetry(row: StrategyRow) -> dict[str, float]:
    """Means over seeds of the values that all runs of the row have; of several stages the last."""
    return _shared([_last_stage(record.training.get("telemetry", {})) for record in row.group.records])


def _shared(told: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Means of the values that all have."""
    found = {name: [of_run.get(name) for of_run in told] for name in told[0]}
    return {name: mean(v for v in values if v is not None) for name, values in found.items() if None not in values}


def _last_stage(telemetry: Mapping[str, object]) -> dict[str, float]:
    """The last stage's numbers by name, from keys ``stage/name`` in order of stages; without stages all numbers."""
    stage = next(reversed([*telemetry]), "").rpartition("/")[0]
    return {
        name.rpartition("/")[2]: float(value)
        for name, value in telemetry.items()
        if name.rpartition("/")[0] == stage and isinstance(value, int | float)
    }


def negatives(comparison: Comparison, picture: Figure | None = None) -> Section | None:
    """How hard the negatives were, how many carried gradient, and how many may be answers."""
    found = _told([(row, told) for row in comparison.rows if _PAIR not in (told := telemetry(row))], _NEGATIVES)
    return section("Hardness and false negatives", picture, Prose(_NOTE), found) if found else None


def labelled(comparison: Comparison) -> Section | None:
    """How similar the two texts of pairs with a score or a class were, of the rows that train on such pairs."""
    found = _told([(row, told) for row in comparison.rows if _PAIR in (told := telemetry(row))], _LABELLED)
    return section("Pairs in training", Prose(_LABELLED_NOTE), found) if found else None


def geometry(comparison: Comparison) -> Section | None:
    """The vectors of each row, and what the index loses of them."""
    told = [(row, _shared([record.geometry for record in row.group.records])) for row in comparison.rows]
    found = _told(told, _GEOMETRY)
    return section("Vectors and index", Prose(_GEOMETRY_NOTE), found) if found else None


def _told(rows: Sequence[tuple[StrategyRow, Mapping[str, float]]], heads: Mapping[str, str]) -> Table | None:
    """A table of the telemetry that some row has, under ``heads``."""
    names = [name for name in heads if any(name in told for _, told in rows)]
    body = [
        [row.group.label, *((share if name in _SHARES else amount)(told.get(name)) for name in names)]
        for row, told in rows
    ]
    return table(["strategy", *(heads[name] for name in names)], body) if names else None


def cost(comparison: Comparison) -> Section | None:
    """All recorded costs, with the device where rows ran on several."""
    names = [name for name in _COSTS if any(row.cost.get(name) is not None for row in comparison.rows)]
    if not names:
        return None
    devices = [
        "; ".join(dict.fromkeys(str(record.environment.get("device", "")) for record in row.group.records))
        for row in comparison.rows
    ]
    several = len(set(devices)) > 1
    header = ["strategy", *(["device"] if several else []), *(_COSTS[name] for name in names)]
    rows = [
        [row.group.label, *([Cell(device)] if several else []), *(amount(row.cost.get(name)) for name in names)]
        for row, device in zip(comparison.rows, devices, strict=True)
    ]
    where = f" Device: {devices[0]}." if devices[0] and not several else ""
    note = f"Means over seeds; `texts encoded` counts training and mining.{where}"
    return section("Cost", Prose(note), table(header, rows, words=1 + several), folded=True)
