"""``bench data judge``: a cross-encoder's verdicts on the hard negatives of a data set."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.atomic import atomic_file, explain_write_errors
from bench.cache import Cache, cache_dir
from bench.config.overrides import command_line, resolve
from bench.data import load
from bench.errors import UserError
from bench.model.cross_encoder import CrossEncoder
from bench.model.precision import resolve_device, resolve_precision
from bench.progress import Display
from bench.use.judge import Bounds, Candidates
from bench.use.judge import judge as verdicts


def judge(name: str, words: Sequence[str], by: str, out: Path, candidates: Candidates, bounds: Bounds) -> None:
    """Write the verdicts of the cross-encoder ``by`` on hard negatives of the data set ``name`` into ``out``.

    ``words`` are settings of how the data set is read, and ``device``. Raises :class:`UserError` for others.
    """
    other = [word for word in words if not word.startswith(("data.", "device=")) or word.startswith("data.name=")]
    if other:
        raise UserError(f"{other[0]}: bench data judge takes settings of the data and device=")
    config = resolve(words)
    data, device = load(replace(config.data, name=name)), resolve_device(config.device)
    cross_encoder = CrossEncoder.load(by, device, resolve_precision("auto", device))
    counts, truncated = Counter[str](), 0
    with Display() as display, explain_write_errors(out), atomic_file(out) as file:
        for block in verdicts(data, cross_encoder, candidates, bounds, Cache(cache_dir()), display.task):
            for verdict in block.verdicts:
                file.write((json.dumps(asdict(verdict), ensure_ascii=False) + "\n").encode())
            counts.update(verdict.verdict for verdict in block.verdicts)
            truncated += block.truncated
    if truncated:
        shown = f"{truncated:,} of {counts.total():,} pairs have more than the {cross_encoder.most_tokens} tokens"
        print(f"{shown} that {by} reads", file=sys.stderr)
    print(f"{out}: {counts.total():,} passages of {len(data.splits['train']):,} training queries judged")
    print(f"  {counts['keep']:>9,} keep (negatives: relevant with a probability below {bounds.keep:g})")
    print(f"  {counts['relabel']:>9,} relabel (positives: above {bounds.relabel:g})")
    print(f"  {counts['drop']:>9,} drop (neither)")
    if not counts["keep"]:
        print(f"no passage is a negative by {by}, so provided_hard has nothing to train on", file=sys.stderr)
        return
    own = [word for word in words if word.startswith("data.")]
    print(f"next: {command_line([f'data={name}', *own, f'data.judged={out}', 'strategy=provided_hard'])}")
