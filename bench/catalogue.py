"""The strategies as a page: made from the registry, so that it cannot say anything else."""

from __future__ import annotations

import re
from inspect import cleandoc

from strategies import registered
from strategies.base import Knob

_HEAD = """\
# Strategies

Made by `bench list --markdown > docs/strategies.md`. Ranges are what a search uses; any value may be given.
"""


def allowed(knob: Knob) -> str:
    """The values of a knob: all of its choices, or the range a search uses."""
    if knob.choices is not None:
        return " | ".join(map(str, knob.choices))
    if knob.low is None or knob.high is None:
        return "set by hand"
    return f"{knob.low:g} to {knob.high:g}"


def page() -> str:
    """A section for every strategy: its docstring and a table of its knobs."""
    parts = [_HEAD]
    for name, strategy in registered().items():
        text = re.sub(r":class:`\S*?(\w+)`", r"`\1`", cleandoc(strategy.__doc__ or "")).replace("``", "`")
        parts.append(f"## {name}\n\n{text}\n")
        rows = [
            f"| `strategy.{k.name}` | {k.default} | {allowed(k).replace('|', chr(92) + '|')} | {k.source} |"
            for k in strategy.knobs()
        ]
        parts.append("\n".join(["| knob | default | values | source |", "| --- | --- | --- | --- |", *rows]) + "\n")
    return "\n".join(parts)
