"""Training that does not do what the settings request: warnings before, during and after it; why a run is invalid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter

from bench.train.budget import Plan
from bench.train.config import TrainConfig
from bench.train.optimizer import warmup_steps
from bench.train.state import Progress
from strategies import Strategy
from strategies.negatives import NoNegatives

MOSTLY = 0.5  # share of places for negatives that are empty or masked above which there is a warning
NEVER = {
    "negatives": "no query had a negative; raise train.batch_size, lower train.groups, or look at the data",
    "drawn": "no negative was found for any query; look at the data, or use more ranks and smaller margins",
    "queued": "the queue was never used; lower strategy.warmup, train longer, or use batches smaller than the data",
    "drawn_again": "no negative was replaced; lower strategy.refresh, train for more steps, or look at other knobs",
    "active": "every loss was zero; raise the margin or train.batch_size, or look at the data",
    "acted": "for no query {}",
    "effective_negatives": "no negative had a gradient; look at the settings of the strategy",
}
"""Scalars of telemetry that are above zero where what a strategy declares has acted, and what is said where one is zero
in all steps."""


def length(config: TrainConfig, ends: Plan, every: int) -> Iterator[str]:
    """Warnings about settings that do not end training, or let it learn, as they seem to.

    Training evaluates on dev after ``every`` steps and ends by ``ends``, or earlier by ``train.patience``.
    """
    most, patience = config.max_steps, config.patience
    if most is not None and ends.total < most:
        yield (
            f"training ends after {ends.total:g} of train.max_steps={most} steps, with train.epochs={config.epochs}; "
            f"raise train.epochs, or set budget.steps={most} instead, which repeats epochs"
        )
    if ends.unit != "steps":
        return
    warm = warmup_steps(config.warmup, ends.total)
    if warm >= ends.total:
        yield f"train.warmup={config.warmup:g} is all of the {ends.total:,.0f} steps: the rate never reaches train.lr"
    if patience is None:
        return
    if patience * every >= ends.total:
        often = f"dev is searched every {every} of {ends.total:g} steps"
        yield f"train.patience={patience} cannot end training early: {often}"
    elif patience * every <= warm:
        yield (
            f"train.patience={patience} can end training while the rate still rises: the warm-up has {warm:,} steps, "
            f"train.warmup={config.warmup:g} of all {ends.total:,.0f}, and dev is searched every {every}; "
            "give a number of steps, such as train.warmup=50"
        )


def rising(config: TrainConfig, ends: Plan, done: Progress) -> Iterator[str]:
    """A warning where the weights that did best on dev are from before the end of the warm-up."""
    warm, best = warmup_steps(config.warmup, ends.total), done.best_step
    if ends.unit == "steps" and best is not None and best < warm:
        yield (
            f"the weights of step {best:,} did best on dev, while the rate still rose: the warm-up has {warm:,} steps; "
            "compare with a shorter train.warmup or a lower train.lr"
        )


def diagnose(strategy: Strategy, row: Mapping[str, float], step: int) -> Iterator[str]:
    """Warnings about the steps that ``row`` averages over, up to ``step``; the text before the colon is constant."""
    wanted = strategy.negatives
    compares = not isinstance(wanted, NoNegatives)
    if compares and row.get("negatives") == 0:
        yield (
            f"no query has a negative: up to step {step} the batches had none; "
            "raise train.batch_size, lower train.groups, or look at the data"
        )
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


def invalid(strategy: Strategy, seen: Mapping[str, float], kept: int) -> str | None:
    """Why a run of ``strategy`` is invalid, or None: what it declares never acted, or only after the kept weights.

    ``seen`` are the means of telemetry over all steps, ``kept`` is the step whose weights were kept. A mechanism that
    had nothing to do in some steps, or whose mask found nothing to mask, has acted: only what never happened counts.
    """
    compares = not isinstance(strategy.negatives, NoNegatives)
    never = [name for name in NEVER if seen.get(name) == 0 and (compares or name in ("active", "acted"))]
    if never:
        return NEVER[never[0]].format(strategy.mechanism)
    waits = {k.name: attrgetter(k.name)(strategy) for k in strategy.knobs() if k.counts_steps}
    return next(
        (
            f"the weights of step {kept} did best on dev, and the mechanism acts after strategy.{name}={steps} steps; "
            "lower it, or set train.eval_every=0"
            for name, steps in waits.items()
            if kept <= steps
        ),
        None,
    )
