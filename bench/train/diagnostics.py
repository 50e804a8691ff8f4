"""What a person should know about a training that goes on and yet does not do what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strategies import Strategy

MOSTLY = 0.5  # share of the places for negatives that may be free before it is told


def diagnose(strategy: Strategy, row: Mapping[str, float], step: int, over: bool) -> Iterator[str]:
    """Sentences about the steps that ``row`` averages over, the last being ``step``; before the colon each is constant.

    ``over`` says that it is the end of the training.
    """
    wanted = strategy.negatives
    if row.get("negatives") == 0:
        yield f"no query has a negative: up to step {step} the batch held none; a larger train.batch_size would"
    elif row["active"] == 0:
        yield (
            f"no query has a loss any more: up to step {step} {strategy.name} found no negative that is hard enough; "
            "a larger margin, a larger batch or mined negatives would give it some"
            if "negatives" in row
            else f"no pair has a loss any more: up to step {step} {strategy.name} had nothing left to learn"
        )
    if (free := row.get("drawn_free", 0.0)) > MOSTLY:
        yield (
            f"most places for negatives stay free: up to step {step} {free:.0%} of the {wanted.n} a query, since there "
            "are not as many that fit; smaller margins, more ranks or a smaller n would fill them"
        )
    if over and wanted.queue and step <= wanted.warmup:
        yield f"the queue was never used: it counts after strategy.warmup={wanted.warmup} steps, and there were {step}"
    refresh = getattr(wanted, "refresh", None)
    if over and refresh is not None and step <= refresh:
        yield f"nothing was mined again: that is every strategy.refresh={refresh} steps, and there were {step}"
