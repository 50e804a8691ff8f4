"""Warnings about training that continues but does not do what the settings request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strategies import Strategy
from strategies.negatives import NoNegatives

MOSTLY = 0.5  # share of places for negatives that are empty or masked above which there is a warning


def diagnose(strategy: Strategy, row: Mapping[str, float], step: int, over: bool) -> Iterator[str]:
    """Warnings about the steps that ``row`` averages over, up to ``step``; the text before the colon is constant.

    ``over`` means that training has ended.
    """
    wanted = strategy.negatives
    compares = not isinstance(wanted, NoNegatives)
    if compares and row.get("negatives") == 0:
        yield f"no query has a negative: up to step {step} the batches had none; raise train.batch_size"
    elif row["active"] == 0:
        yield (
            f"every loss is zero: up to step {step} {strategy.name} found no negative that is hard enough; "
            "raise the margin or train.batch_size, or use mined negatives"
            if compares
            else f"every loss is zero: up to step {step} {strategy.name} had nothing left to learn"
        )
    if (free := row.get("drawn_free", 0.0)) > MOSTLY:
        yield (
            f"most places for negatives are empty: up to step {step} {free:.0%} of the {wanted.n} a query, since too "
            "few passages are eligible; use smaller margins, more ranks or a smaller n"
        )
    if (masked := row.get("drawn_labelled", 0.0)) > MOSTLY:
        yield (
            f"most negatives are positives: up to step {step} {masked:.0%} of the {wanted.n} a query are labelled "
            "relevant to it, so they are masked; look at the data with bench data inspect"
        )
    if over and wanted.queue and step <= wanted.warmup:
        yield f"the queue was never used: it counts after strategy.warmup={wanted.warmup} steps; training had {step}"
    refresh = getattr(wanted, "refresh", None)
    if over and refresh is not None and step <= refresh:
        yield f"nothing was mined again: mining repeats every strategy.refresh={refresh} steps, but training had {step}"
