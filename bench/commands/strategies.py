"""``bench list strategies``: the catalogue and its page, from the registry."""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import cleandoc
from typing import Any

from bench.commands.output import console
from strategies import Strategy, additions, registered
from strategies.base import Knob, Tunable
from strategies.batches import Shuffled
from strategies.examples import LabelledPairs

_HEAD = """\
# Strategies

`bench list --markdown > docs/strategies.md` writes this page. The values of a knob are the range that a search uses;
you may set any value. "Below the steps" means that training must have more steps than the value. `InBatch`, `Mined` and
so on are the declarations of negatives in `strategies/negatives.py`. Strategies can also be chained in stages:
`bench run stages=simcse,mined_hard`.

| strategy | summary | declares |
| --- | --- | --- |"""

_ADDITIONS = """\
## Additions to a loss

`bench run strategy=mnr:spread_out` adds a term to the loss of any strategy, and `stages=mnr,mnr:spread_out` to that of
a stage. Its knobs stand behind its name, and those of the strategy behind the strategy's: `strategy.mnr.scale=30`.
"""


def list_strategies(markdown: bool) -> None:
    """Print each strategy with its summary and knobs, or the Markdown page."""
    if markdown:
        print(page(), end="")
        return
    out = console()
    for name, strategy in registered().items():
        out.print(f"{name}: {summary(strategy)}")
        out.print(f"    {wanted(strategy)}; {source(strategy)}")
        for knob in strategy.knobs():
            out.print(f"    strategy.{knob.name}={knob.default}  ({allowed(knob)}; {knob.source})")
    for name, addition in additions().items():
        out.print(f"{name}: {summary(addition)}")
        out.print(f"    strategy=NAME:{name}; {source(addition)}")
        for knob in addition.knobs():
            out.print(f"    strategy.{name}.{knob.name}={knob.default}  ({allowed(knob)}; {knob.source})")


def allowed(knob: Knob) -> str:
    """The values of a knob: all of its choices, or the range that a search uses."""
    if knob.choices is not None:
        return " | ".join(map(str, knob.choices))
    if knob.low is None or knob.high is None:
        return "set by hand"
    return f"{knob.low:g} to {knob.high:g}" + (", below the steps" if knob.counts_steps else "")


def wanted(strategy: type[Strategy]) -> str:
    """A strategy's declarations at its defaults, such as ``Mined(n=7, last=210)``."""
    stages = strategy().stages()
    if len(stages) > 1:
        return ", then ".join(stage.name for stage in stages)
    (stage,) = stages
    return ", ".join(
        _said(declaration)
        for declaration in (stage.negatives, stage.guide, stage.batches, stage.examples)
        if declaration not in (None, Shuffled(), LabelledPairs())
    )


def _said(declaration: Any) -> str:
    values = ((f, getattr(declaration, f.name)) for f in fields(declaration))
    told = [f"{f.name}={value}" for f, value in values if value != f.default]
    return f"{type(declaration).__name__}({', '.join(told)})"


def source(strategy: type[Tunable]) -> str:
    """The source of a strategy or an addition: the first words after ``Source:`` in its docstring."""
    found = re.search(r"Source: (.*?)(?:[:;,]|(?<!\bal)\.)(?:\s|$)", cleandoc(strategy.__doc__ or ""), re.DOTALL)
    told = " ".join(found[1].replace("``", "").split()) if found else ""
    told = told.rpartition(" (")[0] if told.count("(") > told.count(")") else told
    return f'{told}"' if told.count('"') % 2 else told


def summary(strategy: type[Tunable]) -> str:
    """The first line of the docstring of a strategy or an addition."""
    return cleandoc(strategy.__doc__ or "").splitlines()[0].replace("``", "`")


def page() -> str:
    """An overview, then a section for every strategy and every addition: its docstring and a table of its knobs."""
    parts = [_HEAD]
    for name, strategy in registered().items():
        parts.append(f"| [`{name}`](#{name}) | {summary(strategy)} | `{wanted(strategy)}` |")
    parts.append("")
    parts += [_section(name, strategy, "strategy.") for name, strategy in registered().items()]
    parts.append(_ADDITIONS)
    parts += [_section(name, addition, f"strategy.{name}.") for name, addition in additions().items()]
    return "\n".join(parts)


def _section(name: str, kind: type[Tunable], prefix: str) -> str:
    text = re.sub(r":class:`\S*?(\w+)`", r"`\1`", cleandoc(kind.__doc__ or "")).replace("``", "`")
    rows = [
        f"| `{prefix}{k.name}` | {k.default} | {allowed(k).replace('|', chr(92) + '|')} | {k.source} |"
        for k in kind.knobs()
    ]
    table = "\n".join(["| knob | default | values | source |", "| --- | --- | --- | --- |", *rows])
    return f"## {name}\n\n{text}\n\n{table}\n"
