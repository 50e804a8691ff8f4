"""``bench new strategy``: working files of a new strategy, which pass the conformance tests as they are."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import strategies
from bench.atomic import explain_write_errors
from bench.errors import UserError

STRATEGY = '''\
"""Say in one line what is special about {name}."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import only


@register("{name}")
@dataclass(frozen=True)
class {title}(Strategy):
    """Smooth hinge on the most similar wrong passage of the batch.

    ``L_i = log(1 + exp(s (n_i - p_i)))`` with ``p_i`` the cosine of the query's own positive and ``n_i`` the
    highest of a negative.

    Source: the paper or page that the formula, the defaults and any published number are from.

    Published with: the scale or margin, the size of a batch, the learning rate and the data of that source.

    It uses the passages of the batch. For sampled or mined passages, override ``negatives`` with a declaration of
    ``strategies/negatives.py``, as ``strategies/random_global.py`` does.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="where the default is from")

    def loss(self, batch: Batch) -> Loss:
        hardest = only(batch.similarity, batch.negative).amax(dim=1)
        return Loss(torch.nn.functional.softplus(self.scale * (hardest - batch.positive_similarity)))
'''

REFERENCE = """\
import math

from references import cosines, wrong


def reference(batch, strategy, q):
    c = cosines(batch, q)
    hardest = max(c[j] for j in wrong(batch, q))
    return math.log(1 + math.exp(strategy.scale * (hardest - c[int(batch.positive[q])])))
"""


def new_strategy(name: str) -> list[Path]:
    """Write the strategy ``name`` and, in a checkout, its plain loop for the tests; returns the paths.

    Raises :class:`UserError` for a name that is invalid or taken, and when a file cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} is not a valid strategy name; use lower-case letters, digits and _, for example soft_hinge"
        )
    room = Path(strategies.__path__[0])
    references = room.parent / "tests" / "references"
    texts = {room / f"{name}.py": STRATEGY.format(name=name, title=name.title().replace("_", ""))}
    if references.is_dir():
        texts[references / f"{name}.py"] = REFERENCE
    there = [path for path in texts if path.exists()]
    if name in strategies.registered() or there:
        raise UserError(f"a strategy or a file called {name} exists already{f': {there[0]}' if there else ''}")
    for path, text in texts.items():
        with explain_write_errors(path):
            path.write_text(text, encoding="utf-8")
    return list(texts)
