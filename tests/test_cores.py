"""How many threads compute, and work shared out among them."""

from __future__ import annotations

import threading
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch

from bench import cores
from bench.model import embedding
from bench.model.cpu.workers import share_out
from bench.model.packing import by_length, equal_parts
from bench.model.trial import prepare
from strategies import registered
from tests.toys import MNR, Training


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_asked", 0)


@pytest.mark.parametrize(("affinity", "asked", "quota", "cores_used"), [
    (8, "", "max 100000", 8),
    (8, "3", "max 100000", 3),
    (2, "16", "max 100000", 2),
    (8, "", "250000 100000", 2),
    (8, "", "50000 100000", 1),
    (8, "1", "250000 100000", 1),
    (8, "many", "broken", 8),
])  # fmt: skip
def test_affinity_quota_and_environment_bound_the_cores(
    affinity: int, asked: str, quota: str, cores_used: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cores, "_folders", lambda: [tmp_path / "inner", tmp_path])
    assert cores.available() == cores.count() == cores_used


def test_a_quota_of_the_older_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr(cores, "_folders", lambda: [tmp_path])
    assert cores._quota() == 3
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores._quota() > 1000


def test_the_number_asked_for_is_that_of_all_work(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        assert cores.use(3) == cores.count() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_results_stand_in_the_order_of_the_items_and_threads_share_them() -> None:
    seen = set()

    def task(item: int) -> int:
        seen.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        sleep(0.01 * (item % 3))
        return item * item

    before = torch.get_num_threads()
    assert share_out(task, range(20), 3) == [i * i for i in range(20)]
    assert len(seen) == 3 and torch.get_num_threads() == before


def test_an_error_ends_the_others_and_is_raised() -> None:
    done = []

    def task(item: int) -> None:
        if item == 1:
            raise ValueError("item 1")
        sleep(0.02)
        done.append(item)

    with pytest.raises(ValueError, match="item 1"):
        share_out(task, range(100), 2)
    assert len(done) < 5, "the rest is not begun"
    assert share_out(lambda _: torch.is_grad_enabled(), range(4), 2) == [True] * 4
    with torch.no_grad():
        assert share_out(lambda _: torch.is_grad_enabled(), range(4), 2) == [False] * 4


def test_parts_have_about_equal_tokens_and_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(MNR)
    texts = [(training.passages, np.arange(60))]
    lengths = training.passages.lengths[:60]
    chunk = by_length(texts, 60)[0]
    assert len(equal_parts(texts, chunk, 4)) == 1, "few tokens are not worth a second thread"
    monkeypatch.setattr("bench.model.packing.LEAST", 4)
    parts = equal_parts(texts, chunk, 4)
    assert len(parts) == 4 and np.array_equal(np.concatenate(parts), chunk)
    tokens = [int(lengths[part].sum()) for part in parts]
    assert max(tokens) - min(tokens) <= 2 * lengths.max()
    assert [len(part) for part in equal_parts(texts, chunk[-2:], 4)] == [1, 1]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("bench.model.packing.LEAST", 4)
    return monkeypatch


def gradients(name: str, threads: int, dropout: float, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    monkeypatch.setattr(cores, "_asked", threads)
    torch.manual_seed(0)
    return Training(registered()[name](), dropout=dropout).gradients()


@pytest.mark.parametrize("name", sorted(registered()))
def test_any_number_of_threads_gives_the_gradient_of_one(name: str, threads: pytest.MonkeyPatch) -> None:
    one, three = gradients(name, 1, 0.0, threads), gradients(name, 3, 0.0, threads)
    assert one.keys() == three.keys()
    for parameter, gradient in one.items():
        near = 1e-4 * float(gradient.abs().max()) + 1e-9
        torch.testing.assert_close(three[parameter], gradient, rtol=1e-3, atol=near)


def test_equal_numbers_of_threads_give_equal_bits_with_dropout(threads: pytest.MonkeyPatch) -> None:
    first, *again = (gradients("mnr", 3, 0.3, threads) for _ in range(4))
    for other in again:
        assert all(torch.equal(other[name], value) for name, value in first.items())
    assert any(not torch.equal(value, first[name]) for name, value in gradients("mnr", 3, 0.0, threads).items())


def test_a_model_with_dropout_of_its_own_trains_in_one_thread() -> None:
    training = Training(MNR, dropout=0.1)
    assert training.encoder.splits

    class Own(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(x, 0.1, self.training)

    encoder = training.encoder
    encoder.transformer.encoder.layer[0].output.dropout = Own()
    encoder.transformer.set_attn_implementation("sdpa")
    assert not prepare(encoder, torch.device("cpu")).splits


def test_threads_encode_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedding.TOKENS_AT_ONCE, "cpu", 64)
    training = Training(MNR)
    found = []
    for count in (1, 3):
        monkeypatch.setattr(cores, "_asked", count)
        told: list[int] = []
        found.append(embedding.encode(training.encoder, training.passages, "fp32", progress=told.append))
        assert sum(told) == len(training.passages)
    assert np.array_equal(*found)
