"""``bench list strategies``: the catalogue and its page, from the registry."""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import cleandoc
from typing import Any

from bench.commands.output import console
from strategies import Strategy, registered
from strategies.base import Knob
from strategies.examples import LabelledPairs

_HEAD = """\
# Strategies

`bench list --markdown > docs/strategies.md` writes this page. The values of a knob are the range that a search uses;
you may set any value. "Below the steps" means that training must have more steps than the value. `InBatch`, `Mined` and
so on are the declarations of negatives in `strategies/negatives.py`. Strategies can also be chained in stages:
`bench run stages=simcse,mined_hard`.

| strategy | summary | declares |
| --- | --- | --- |"""


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
        for declaration in (stage.negatives, stage.guide, stage.examples)
        if declaration is not None and declaration != LabelledPairs()
    )


def _said(declaration: Any) -> str:
    values = ((f, getattr(declaration, f.name)) for f in fields(declaration))
    told = [f"{f.name}={value}" for f, value in values if value != f.default]
    return f"{type(declaration).__name__}({', '.join(told)})"


def source(strategy: type[Strategy]) -> str:
    """A strategy's source: the first words after ``Source:`` in its docstring."""
    found = re.search(r"Source: (.*?)(?:[:;,]|(?<!\bal)\.)(?:\s|$)", cleandoc(strategy.__doc__ or ""), re.DOTALL)
    told = " ".join(found[1].replace("``", "").split()) if found else ""
    told = told.rpartition(" (")[0] if told.count("(") > told.count(")") else told
    return f'{told}"' if told.count('"') % 2 else told


def summary(strategy: type[Strategy]) -> str:
    """The first line of a strategy's docstring."""
    return cleandoc(strategy.__doc__ or "").splitlines()[0].replace("``", "`")


def page() -> str:
    """An overview, then a section for every strategy: its docstring and a table of its knobs."""
    parts = [_HEAD]
    for name, strategy in registered().items():
        parts.append(f"| [`{name}`](#{name}) | {summary(strategy)} | `{wanted(strategy)}` |")
    parts.append("")
    for name, strategy in registered().items():
        text = re.sub(r":class:`\S*?(\w+)`", r"`\1`", cleandoc(strategy.__doc__ or "")).replace("``", "`")
        parts.append(f"## {name}\n\n{text}\n")
        rows = [
            f"| `strategy.{k.name}` | {k.default} | {allowed(k).replace('|', chr(92) + '|')} | {k.source} |"
            for k in strategy.knobs()
        ]
        parts.append("\n".join(["| knob | default | values | source |", "| --- | --- | --- | --- |", *rows]) + "\n")
    return "\n".join(parts)
