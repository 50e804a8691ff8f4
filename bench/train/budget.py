"""The budget of a run, and how it ends training."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from bench.errors import UserError, at_least, at_most

if TYPE_CHECKING:
    from bench.train.state import Progress

Unit = Literal["steps", "texts", "seconds"]


@dataclass(frozen=True)
class BudgetConfig:
    """The budget of a run over all stages, including mining and guides; at most one field is set.

    ``steps`` of the optimiser, ``examples`` (pairs, counted each time they are used), ``texts`` encoded, or
    ``seconds``. Training repeats the pairs as often as needed. Stages have equal parts. The step that exhausts the
    budget is the last.
    """

    steps: int | None = None
    examples: int | None = None
    texts: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        declared = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        if len(declared) > 1:
            raise UserError(f"budget.{declared[0]} and budget.{declared[1]} are both set; set only one of them")
        for name in declared:
            at_least(f"budget.{name}", getattr(self, name), 1)
            at_most(f"budget.{name}", getattr(self, name), 10**12)

    @property
    def declared(self) -> bool:
        """Whether anything is set; otherwise epochs and steps of ``train`` decide."""
        return any(getattr(self, f.name) is not None for f in fields(self))

    def total_steps(self, batch_size: int) -> int | None:
        """Steps of the whole budget; None where it counts texts or seconds, or is not declared."""
        return self.steps if self.examples is None else -(-self.examples // batch_size)

    def plan(self, part: float, batch_size: int, spent: Progress) -> Plan:
        """The plan of a stage that ends at the share ``part`` of the budget, of which ``spent`` is used before it.

        Raises :class:`UserError` when nothing is left for the stage.
        """
        if self.texts is not None:
            plan = Plan("texts", self.texts * part - Plan("texts", 0).spent(spent))
        elif self.seconds is not None:
            plan = Plan("seconds", self.seconds * part - Plan("seconds", 0).spent(spent))
        else:
            plan = Plan("steps", int((self.total_steps(batch_size) or 0) * part) - spent.step)
        if plan.total <= 0:
            took, ends = plan.spent(spent), plan.spent(spent) + plan.total
            what = "mining, guides and earlier stages" if spent.step else "mining or a guide"
            raise UserError(
                f"the budget is spent before the first step: it ends at {ends:,.10g} {plan.unit}, and {what} took "
                f"{took:,.10g}; give more, or a strategy that costs less"
            )
        return plan


@dataclass(frozen=True)
class Plan:
    """Training ends when ``total`` of ``unit`` is spent; the learning rate depends on the spent amount, too."""

    unit: Unit
    total: float

    def spent(self, done: Progress) -> float:
        """How much of the unit training and its mining have spent."""
        if self.unit == "steps":
            return done.step
        return done.texts + done.mine_texts if self.unit == "texts" else done.seconds + done.mine_s

    def steps(self, done: Progress) -> int:
        """The expected total number of steps."""
        spent = self.spent(done)
        return round(self.total) if self.unit == "steps" else round(done.step * max(1.0, self.total / max(spent, 1e-9)))
