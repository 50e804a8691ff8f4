"""Options of ``bench study``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.errors import UserError, at_least, choice

SAMPLERS = ("tpe", "random")


@dataclass(frozen=True)
class Options:
    """``trials`` of each strategy and ``seeds`` of each trial are the study's own when None; ``timeout`` is in seconds,
    after which no trial is begun; ``storage`` is the URL of an Optuna database or journal; ``sampler`` proposes.
    """

    trials: int | None = None
    seeds: int | None = None
    timeout: float | None = None
    storage: str | None = None
    sampler: str = "tpe"

    def __post_init__(self) -> None:
        for name in ("trials", "seeds"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 1)
        if self.timeout is not None and not self.timeout > 0:
            raise UserError(f"timeout={self.timeout:g} must be above 0 seconds")
        choice("sampler", self.sampler, SAMPLERS)

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Options:
        """Options from values that may be strings. Raises :class:`UserError` for one that is not a number."""
        kinds: dict[str, Callable[[str], object]] = {"trials": int, "seeds": int, "timeout": float}
        found: dict[str, object] = {}
        for name, value in given.items():
            try:
                found[name] = value if value is None else kinds.get(name, str)(str(value))
            except ValueError:
                whole = "whole " if kinds[name] is int else ""
                raise UserError(f"{name}={value} is not a {whole}number") from None
        return cls(**found)  # type: ignore[arg-type]

    def told(self) -> list[str]:
        """The options that affect the result, as words of the command line."""
        words = {"trials": self.trials, "seeds": self.seeds, "sampler": self.sampler if self.sampler != "tpe" else None}
        return [f"{key}={value}" for key, value in words.items() if value is not None]
