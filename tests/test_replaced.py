"""Negatives that are replaced when they have become easy: by the rule as a plain loop, and over kills and ranks."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import together
from toys import PAIRS, ROWS, TRAIN, Training

from bench.cache import Cache
from bench.errors import UserError
from bench.model.embedding import encode
from bench.negatives import NegativesContext, negative_sampler
from bench.negatives.replacing_sampler import ReplacingSampler
from bench.train.state import State
from bench.train.trainer import Trainer
from bench.world import World
from strategies import registered
from strategies.negatives import Replaced

WANTED = Replaced(3, first=2, last=11, refresh=4, factor=1.02, limit=0.88)


def cosines(training: Training) -> np.ndarray:
    """Of every training query with every passage, by the encoder as it is."""
    queries = encode(training.encoder, training.queries, "fp32", TRAIN.queries)
    return queries @ encode(training.encoder, training.passages, "fp32").T


def moved(training: Training, seed: int) -> None:
    """Other weights, as after some steps."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in training.encoder.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def test_it_is_the_rule_as_a_plain_loop(context: NegativesContext, training: Training) -> None:
    sampler = negative_sampler(WANTED, context)
    start = cosines(training)
    ranked = [
        sorted((p for p in range(80) if p not in TRAIN.relevant[q]), key=lambda p, q=q: -start[q, p])[:11]
        for q in range(len(TRAIN))
    ]
    held = [row[2:5] for row in ranked]
    first = [np.mean([start[q, p] for p in row]) for q, row in enumerate(held)]
    times = [0] * len(held)
    replaced = 0
    for step in (4, 8, 12):
        moved(training, step)
        now, before = cosines(training), [list(row) for row in held]
        for q, row in enumerate(held):
            mean = np.mean([now[q, p] for p in row])
            if 1.02 * mean < first[q] and abs(mean) < 0.88 and times[q] < 2:
                times[q] += 1
                row[:] = ranked[q][2 + 3 * times[q] : 5 + 3 * times[q]]
                first[q] = np.mean([now[q, p] for p in row])
                replaced += 1
        assert sampler.due(step) and not sampler.due(step + 1)
        cost = sampler.refresh(step)
        new = [row for q, row in enumerate(held) if row != before[q]]
        assert cost.texts == len(held) + len({*chain(*before)}) + len(new) + len({*chain(*new)})
        assert not sampler.due(step)
        drawn = sampler.draw(ROWS, step)
        assert not drawn.free.any()
        assert drawn.ids.tolist() == [held[row] for row in PAIRS.row]
        assert np.isin(drawn.ids, sampler.reach()).all()
    assert 0 < replaced < 2 * len(held)
    assert sampler.draw(ROWS, 13).again


@pytest.mark.parametrize("kept", [{"factor": 1.001, "limit": 1.0}, {"factor": 0.5, "limit": 0.5}])
def test_what_has_not_become_easy_stays(kept: dict[str, float], context: NegativesContext) -> None:
    """Weights have not changed; or every mean is above the limit."""
    sampler = negative_sampler(replace(WANTED, **kept), context)
    before = sampler.draw(ROWS, 0)
    assert not sampler.due(0) and sampler.due(4)
    sampler.refresh(4)
    np.testing.assert_array_equal(sampler.draw(ROWS, 4).ids, before.ids)


def test_a_first_mean_that_is_not_above_0_is_left_alone(context: NegativesContext) -> None:
    sampler = negative_sampler(replace(WANTED, factor=0.5, limit=1.0), context)
    assert isinstance(sampler, ReplacingSampler)
    sampler.first_mean[:6] = -0.1
    sampler.first_mean[6:] = 2.0
    sampler.refresh(4)
    assert sampler.replacements[:6].tolist() == [0] * 6 and sampler.replacements[6:].all()


def test_what_is_resumed_is_what_was_kept(context: NegativesContext, training: Training) -> None:
    sampler, resumed = (negative_sampler(WANTED, context) for _ in range(2))
    assert isinstance(sampler, ReplacingSampler) and isinstance(resumed, ReplacingSampler)
    moved(training, 12)
    sampler.refresh(4)
    resumed.resume(4)
    assert 0 < sampler.replacements.sum() < len(TRAIN)
    np.testing.assert_array_equal(resumed.replacements, sampler.replacements)
    np.testing.assert_array_equal(resumed.first_mean, sampler.first_mean)
    assert not resumed.due(4)


def test_a_corpus_that_is_too_small_is_told(context: NegativesContext) -> None:
    with pytest.raises(UserError, match=r"too few for strategy\.n=3 from rank strategy\.first=75"):
        negative_sampler(replace(WANTED, first=75, last=90), context)


def hasty(place: Path) -> Training:
    """A training that scores its negatives before the steps 3 and 6, and replaces all that are not much harder."""
    strategy = registered()["conan"](refresh=3, n=2, first=0, last=20, factor=0.7, limit=1.0)
    return Training(strategy, directory=place, max_steps=9, save_every=100, lr=1e-2, dropout=0.0)


@pytest.mark.parametrize("death", [2, 3, 4, 7])
def test_killed_anywhere_it_ends_as_if_it_had_not_been(death: int, tmp_path: Path) -> None:
    whole, killed, resumed = hasty(tmp_path / "whole"), hasty(tmp_path / "killed"), hasty(tmp_path / "killed")
    expected = whole.fit()

    class Killed(Exception):
        pass

    def kill(step: int) -> None:
        if step == death:
            raise Killed

    with pytest.raises(Killed):
        killed.fit(on_step=kill)
    done = resumed.fit()
    for key, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[key])
    assert done.mine_texts == expected.mine_texts > 2 * len(TRAIN), "every scoring is counted once"
    assert [path.name for path in (tmp_path / "killed").glob("negatives-*")] == ["negatives-6"]
    last = Cache(tmp_path / "killed").find("negatives-6")
    assert last is not None and last.facts["replaced"] > 0


@pytest.mark.parametrize(("name", "saves"), [("conan", 2), ("ance", 3)])
def test_a_refresh_that_no_checkpoint_has_is_made_and_counted_again(
    name: str, saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the search before step 3, and before the checkpoint that has its cost; one of step 3 is there."""

    def training(place: str) -> Training:
        strategy = registered()[name](refresh=3, n=2, last=20)
        return Training(strategy, directory=tmp_path / place, max_steps=7, save_every=3, lr=1e-2)

    whole, killed, resumed = training("whole"), training("killed"), training("killed")
    expected = whole.fit()

    class Killed(Exception):
        pass

    written, save = [], Trainer._save

    def dying(self: Trainer, state: State) -> None:
        written.append(state.progress.step)
        if len(written) == saves:
            raise Killed
        save(self, state)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save", dying)
        with pytest.raises(Killed):
            killed.fit()
    assert written[-2:] == [3, 3], "the second one has the search"
    done = resumed.fit()
    assert (done.step, done.mine_texts) == (expected.step, expected.mine_texts)
    for key, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[key])


def test_two_ranks_replace_the_same(tmp_path: Path) -> None:
    trainings = [hasty(tmp_path / str(size)) for size in (1, 2, 2)]

    def ids(size: int) -> list[list[list[int]]]:
        mine = [training for training in trainings if training.directory.name == str(size)]

        def work(world: World) -> list[list[int]]:
            training = mine[world.rank]
            sampler = training.objective(training.strategy, training.directory, world).sampler
            before = sampler.draw(ROWS, 0).ids.tolist()
            cost = sampler.refresh(3)
            after = sampler.draw(ROWS, 3).ids.tolist()
            assert after != before
            return [*after, [cost.texts]]

        return together(size, work)

    (alone,) = ids(1)
    assert ids(2) == [alone, alone]


def test_a_lost_state_is_told(context: NegativesContext) -> None:
    sampler = negative_sampler(WANTED, context)
    sampler.resume(None)
    assert sampler.draw(ROWS, 3) is not None
    with pytest.raises(UserError, match="negatives-4 is missing or damaged; --force trains from the start"):
        sampler.resume(4)
