"""Completion: what the source declares without an import of it, and what a shell is answered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.commands import completion, declared
from bench.config.overrides import _kinds, resolve
from bench.data.presets import PRESETS as DATA
from bench.model.presets import PRESETS as ENCODERS
from bench.record.identity import flat
from bench.record.serialize import as_override
from strategies import registered
from studies import registered as registered_studies

ROOT = Path(__file__).parents[1]


def test_declared_names_are_those_of_the_program() -> None:
    assert list(declared.strategies()) == list(registered())
    assert declared.studies() == list(registered_studies())
    settings = {key for key in _kinds(registered()["in_batch"]) if not key.startswith("strategy.")}
    assert declared.settings().keys() == settings
    assert set(declared.names_of("bench.data.presets", "PRESETS")) == set(DATA)
    assert declared.names_of("bench.model.presets", "PRESETS") == ENCODERS


def test_declared_defaults_are_those_of_a_run() -> None:
    defaults = declared.defaults()
    plain = {key: as_override(value) for key, value in flat(asdict(resolve([]))) if not key.startswith("strategy.")}
    assert defaults == {key: plain[key] for key in defaults if plain[key]} and len(defaults) > 30


@pytest.mark.parametrize("name", registered())
def test_declared_knobs_are_those_of_the_strategy(name: str) -> None:
    knobs = registered()[name].knobs()
    found = declared.knobs(name)
    assert list(found) == [knob.name for knob in knobs]
    for knob in knobs:
        if knob.choices is not None:
            words = {str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in knob.choices}
            assert set(found[knob.name]) <= words  # choices that are computed, as those of mnr, are not offered


def test_every_value_that_is_offered_for_a_setting_is_accepted() -> None:
    offered = [(key, value) for key, values in declared.settings().items() for value in values]
    assert {"track", "train.precision", "encoder.pooling", "eval.untrained"} <= {key for key, _ in offered}
    for key, value in offered:
        resolve([f"{key}={value}"])


@pytest.mark.parametrize(
    ("word", "some"),
    [
        ("", ["strategy=", "seed=", "train.", "eval."]),
        ("tr", ["track=", "train."]),
        ("eva", ["eval.ks=", "eval.split="]),
        ("train.prec", ["train.precision=", "train.precision=bf16"]),
        ("eval.k", ["eval.ks=", "eval.ks=[1,5,10,20,50]"]),
        ("strategy.symm", ["strategy.symmetric=", "strategy.symmetric=true"]),
        ("train.l", ["train.lr=", "train.log_every="]),
        ("strategy.marg", ["strategy.margin=", "strategy.margin_kind="]),
        ("strategy=hard", ["strategy=hard_weighted", "strategy=hardest_neg"]),
        ("strategy=in_batch,m", ["strategy=in_batch,mined_hard", "strategy=in_batch,mnr"]),
        ("stages=simcse,que", ["stages=simcse,queue"]),
        ("data=doc", ["data=docstrings"]),
        ("encoder=mini", ["encoder=minilm", "encoder=minilm-l3"]),
        ("strategy.kind=", ["strategy.kind=hinge", "strategy.kind=margin_mse"]),
        ("strategy.negative=", ["strategy.negative=mined"]),
    ],
)
def test_a_word_is_completed(word: str, some: list[str]) -> None:
    found = completion.words(word)
    assert set(some) <= set(found)
    assert all(one.startswith(word) for one in found)


def test_a_strategy_of_a_list_is_not_offered_again() -> None:
    assert "strategy=in_batch,in_batch" not in completion.words("strategy=in_batch,")
    assert completion.words("nothing.of=this.kind") == []


def test_other_names_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "mnr-faq-s1-00c0ffee").mkdir(parents=True)
    (tmp_path / "runs" / "mnr-faq-s1-00c0ffee" / "record.json").write_text("")
    (tmp_path / "runs" / "studies" / "margin-faq-1a2b3c4d").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert completion.studies("mar") == ["margin"]
    assert "paddle_in_batch" in completion.documented("paddle")
    assert completion.runs("") == ["mnr-faq-s1-00c0ffee"]
    assert completion.made_studies("margin-") == ["margin-faq-1a2b3c4d"]


def test_a_file_that_cannot_be_read_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, str]:
        raise SyntaxError("half-written")

    monkeypatch.setattr(declared, "strategies", broken)
    assert completion.strategies("") == [] and completion.words("strategy=") == []


def ask(**environment: str) -> subprocess.CompletedProcess[str]:
    """What ``python -m bench`` answers a shell that asks by its environment."""
    return subprocess.run(
        [sys.executable, "-m", "bench"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "at", "answer"),
    [
        ("bench\nst", 1, {"study"}),
        ("bench\nrun\ntrain.l", 2, {"train.lr=", "train.log_every="}),
        ("bench\nrun\ntrain.lr", 2, {"train.lr=", "train.lr=5e-05"}),
        ("bench\nrun\nstrategy\n=", 3, set(registered())),
        ("bench\nrun\nstrategy\n=\nin_batch,min", 4, {"in_batch,mined_hard"}),
        ("bench\nrun\nstrategy=min", 2, {"strategy=mined_hard"}),
        ("bench\nrun\nstrategy\n=\nmnr\nencoder\n=\nscr", 7, {"scratch", "scratch-roformer"}),
        ("bench\nstudy\nmarg", 2, {"margin"}),
        ("bench\nstudy\nmargin\nstrategy\n=\nmn", 5, {"mnr"}),
        ("bench\nlist\nstu", 2, {"studies"}),
    ],
)
def test_bash_is_answered_for_the_piece_it_completes(line: str, at: int, answer: set[str]) -> None:
    """Bash cuts words at = by default, and does not where a person has changed COMP_WORDBREAKS."""
    done = ask(_BENCH_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(at))
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == answer


def test_zsh_and_fish_are_answered_in_whole_words() -> None:
    done = ask(_BENCH_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="bench run strategy=mined")
    assert (done.returncode, done.stderr) == (0, "") and '"strategy=mined_hard"' in done.stdout
    given = {"_TYPER_COMPLETE_ARGS": "bench run strategy=mined", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = ask(_BENCH_COMPLETE="complete_fish", **given)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "strategy=mined_hard")


@pytest.mark.parametrize("asked", ["complete_bash", "complete_nothing", "nonsense", ""])
def test_a_question_that_makes_no_sense_is_no_traceback(asked: str) -> None:
    done = ask(_BENCH_COMPLETE=asked, COMP_WORDS="bench\nrun\n'", COMP_CWORD="many")
    assert "Traceback" not in done.stdout + done.stderr


def test_an_answer_takes_no_heavy_import() -> None:
    code = """
import sys
from bench.commands import completion
for word in ("", "train.", "strategy=m", "strategy.m", "strategy.kind=", "data=", "encoder=", "track="):
    assert completion.words(word)
assert completion.studies("") and completion.strategies("") and completion.documented("")
heavy = {"torch", "transformers", "hydra", "pandas", "wandb", "numpy", "strategies"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_that_is_installed_completes_in_bash(tmp_path: Path) -> None:
    command = tmp_path / "bench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench "$@"\n')
    command.chmod(0o755)
    script = """
eval "$(bench --show-completion)"
COMP_WORDS=(bench run strategy = in_batch,min); COMP_CWORD=4
_bench_completion bench
printf '%s\\n' "${COMPREPLY[@]}"
"""
    shown = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PATH": shown, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.split() == ["in_batch,mined_hard"], done.stderr
