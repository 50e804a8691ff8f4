"""The command line as a person meets it: help, one clear message for bad input, readable and clean output."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from tiny import PASSAGES, bench, words_for, write_data

ANSI = "\x1b["
WIDTH = 100
ROOT = Path(__file__).parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "tiny")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Callable[..., int]:
    """``bench run`` on the tiny data; a word replaces the usual one of the same key."""

    def command(*given: str) -> int:
        keys = {word.partition("=")[0].removesuffix(".name") for word in given}
        usual = [f"{key}={word}" for key, word in words_for(data, tmp_path / "runs").items() if key not in keys]
        return bench("run", *usual, *given)

    return command


def refused(status: int, capsys: pytest.CaptureFixture[str], message: str) -> str:
    """Status 2 and one message, on standard error alone, without a traceback."""
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    told = [line for line in err.splitlines() if not line.startswith("tokenising")]
    assert told[0].startswith("bench: ")
    assert not [line for line in told[1:] if line.startswith("bench: ")]
    assert "Traceback" not in err
    assert re.search(message, err), err
    return err


# Help


def test_help_answers_without_torch() -> None:
    code = """
import sys
from bench.cli import main
try:
    main({words})
except SystemExit as end:
    assert end.code == 0, end.code
heavy = {{"torch", "transformers", "hydra", "pandas", "wandb"}} & set(sys.modules)
assert not heavy, heavy
"""
    asked = [
        ["--help"],
        ["run", "--help"],
        ["report", "--help"],
        ["data", "inspect", "--help"],
        ["records", "pack", "--help"],
        ["generate", "--help"],
    ]
    script = "\n".join(code.format(words=words) for words in asked)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_settings_are_read_without_transformers() -> None:
    """Importing it is half of a start, for which a wrong word and ``--print-config`` need not wait."""
    code = """
import sys
from bench.cli import main
assert main(["run", "--print-config"]) == 0 and main(["run", "data=nowhere", "devices=0"]) == 2
assert not {"transformers", "scipy.stats", "wandb"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words", [[], ["run"], ["report"], ["list"], ["data"], ["data", "inspect"], ["records", "pack"]], ids=" ".join
)
def test_every_help_has_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*words, "--help") == 0
    assert "Example: bench" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", [["runn"], ["run", "--nope"], ["data", "inspect"], ["list", "extra"]], ids=" ".join)
def test_words_that_are_no_command_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*words) == 2
    assert "Traceback" not in capsys.readouterr().err


# Bad settings


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.lrr=1", "no setting 'train.lrr'; did you mean 'train.lr'"),
        ("strategy=hard_neg", "did you mean 'hardest_neg'"),
        ("train.lr=abc", r"train\.lr=abc is not a number"),
        ("index.ef=10", r"index\.ef=10 is smaller than the 20 passages"),
        ("index.engine=hnsw", r"index\.engine='hnsw' is not one of .*hnswlib"),
        ("device=gpu", "not a device"),
        ("data=nowhere", "no directory, file or preset"),
        ("eval.split=validation", "no such split; known: dev, test, train"),
        ("eval.ks=[1,61]", r"raise eval\.retrieve"),
        (f"eval.retrieve={PASSAGES + 1}", rf"has {PASSAGES} passages; set eval.retrieve={PASSAGES} 'eval.ks=\[1,5\]'"),
        ("encoder=some/hubid", "no usable encoder on this machine or on the hub"),
        ("encoder=/no/such/dir", "no such directory"),
        ("encoder.layers=[0,7]", "this model has layers 0 to 1"),
        ("encoder.layers=[1,1]", "names a layer twice"),
        ("encoder.max_passage_tokens=100000", "this model has positions for"),
        ("runs_dir=", "name a directory"),
        ("train.init_from=in_batch-tiny-s0-00000000", "there is no such finished run in .*, and no such directory"),
    ],
)
def test_a_bad_setting_is_one_message(
    word: str, message: str, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(run(word), capsys, message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    refused(run("device=cuda"), capsys, "no CUDA GPU")


def test_a_setting_that_cannot_be_met_is_told_before_anything_is_written(
    run: Callable[..., int], tmp_path: Path
) -> None:
    assert run(f"eval.retrieve={PASSAGES + 1}", f"index.ef={PASSAGES + 1}") == 2
    assert not (tmp_path / "runs").exists()


def test_an_engine_that_is_not_installed_is_told_before_anything_is_written(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "usearch", None)
    refused(run("index.engine=usearch"), capsys, r'needs the package usearch: `pip install -e "\.\[usearch\]"`')
    assert not (tmp_path / "runs").exists()


def test_weights_of_another_shape(run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encoder.output_dim=16", "train.max_steps=0") == 0
    (model,) = (tmp_path / "runs").glob("*/model")
    capsys.readouterr()
    status = run(f"train.init_from={model.parent.name}", "encoder.output_dim=32")
    refused(status, capsys, r"that run has encoder\.output_dim=16, this one 32")


def test_debug_shows_the_traceback(run: Callable[..., int]) -> None:
    from bench.errors import UserError

    with pytest.raises(UserError):
        run("train.lrr=1", "--debug")


# Bad data


def test_a_malformed_line_is_named(data: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with (data / "train.tsv").open("a") as file:
        file.write("a query without a passage\n")
    refused(run(), capsys, r"train\.tsv:25: wrong number of fields")


def test_an_empty_corpus_is_told(data: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    (data / "corpus.tsv").write_text("")
    refused(run(), capsys, r"corpus\.tsv: empty file")


# Places that cannot be written


def test_a_file_where_the_runs_should_be(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("in the way")
    refused(run(), capsys, r"cannot write .*runs.*: Not a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_directory_that_is_read_only(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir(mode=0o500)
    refused(run(), capsys, r"cannot write .*choose a directory that can be written")


def test_a_full_disk(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status = run()
    refused(status, capsys, r"cannot write .*: No space left on device; free some space or choose another directory")
    assert not list((tmp_path / "runs").rglob("record.json"))


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 256 KiB: what a disk does that fills up while weights are written."""
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_refuses_the_weights(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    refused(run("train.max_steps=0"), capsys, r"cannot write .*model: File too large")


# The other commands


def test_inspecting_data(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("data", "inspect", str(data)) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"corpus +{PASSAGES}\b", shown)
    (data / "dev.tsv").write_text("no tab\n")
    assert bench("data", "inspect", str(data)) == 2
    assert "dev.tsv:1" in capsys.readouterr().out
    shutil.rmtree(data)
    refused(bench("data", "inspect", str(data)), capsys, "no directory")


def test_a_report_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(bench("report", "--runs-dir", str(tmp_path / "none")), capsys, "no runs at")
    refused(bench("report", "--runs-dir", str(tmp_path)), capsys, "no finished run")


def test_a_report_of_runs(run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("seed=1,2", "train.max_steps=1") == 0
    capsys.readouterr()
    assert bench("report", "--runs-dir", str(tmp_path / "runs")) == 0
    shown = capsys.readouterr().out
    assert "# Which negatives?" in shown
    table = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines() if line.startswith("|")]
    header = next(cells for cells in table if "seeds" in cells)
    row = next(cells for cells in table if cells[1] == "in_batch" and len(cells) == len(header))
    assert row[header.index("seeds")] == "2"
    out = tmp_path / "new" / "place"
    assert bench("report", "--runs-dir", str(tmp_path / "runs"), "--out", str(out)) == 0
    written = [line for line in (out / "report.md").read_text().splitlines() if not line.startswith("![")]
    assert set(shown.splitlines()) <= set(written), "the file says the same, with figures"
    (tmp_path / "file").write_text("")
    capsys.readouterr()
    status = bench("report", "--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "file"))
    refused(status, capsys, "cannot write")


def test_the_list_has_every_strategy_with_its_knobs(capsys: pytest.CaptureFixture[str]) -> None:
    from strategies import registered

    assert bench("list") == 0
    shown = capsys.readouterr().out
    for name, strategy in registered().items():
        assert f"{name}:" in shown
        assert all(f"strategy.{knob.name}={knob.default}" in shown for knob in strategy.knobs())


def test_print_config_shows_every_run_and_runs_none(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--print-config", "seed=1,2", "encoder.query_prefix='[ask] :x: '") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows if row and row[0] == "seed"] == ["1", "2"]
    assert ["seed", "2", "command", "line"] in rows
    assert ["encoder.query_prefix", "'[ask]", ":x:", "'", "command", "line"] in rows
    assert ["eval.ks", "[1,5]", "command", "line"] in rows
    assert ["train.init_from", "null", "default"] in rows
    assert not (tmp_path / "runs").exists()


def test_piped_output_is_plain_and_fits(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("strategy=in_batch,hardest_neg", "eval.ks=[1,5,10,50]", "eval.retrieve=50") == 0
    table = capsys.readouterr()
    assert bench("list") == 0
    assert bench("run", "--print-config") == 0
    assert bench("data", "inspect", str(tmp_path / "tiny")) == 0
    rest = capsys.readouterr()
    assert ANSI not in table.out + table.err + rest.out + rest.err
    for line in (table.out + rest.out).splitlines():
        assert len(line) <= WIDTH or line.startswith(("/", "bench ")), line  # paths and commands stay whole
    header, *rows = table.out.splitlines()[1:]
    assert [row.split()[0] for row in rows[:3]] == ["before", "in_batch", "hardest_neg"]
    assert header.split()[:3] == ["strategy", "seed", "R@1"]


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--version") == 0
    assert capsys.readouterr().out == f"negbench {version('negbench')}\n"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, f"negbench {version('negbench')}\n")


LONG = "a" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("run", f"data={LONG}"),
        ("run", f"encoder={LONG}", "track=none"),
        ("run", f"strategy={LONG}"),
        ("run", f"train.init_from={LONG}", "track=none"),
        ("run", "data=/dev/null"),
        ("run", "data=/dev/null/x"),
        ("run", f"seed={'9' * 5000}"),
        ("run", "--again", LONG),
        ("run", "--again", "../x"),
        ("run", "--again", "in_batch", f"runs_dir={LONG}"),
        ("report", "--runs-dir", LONG),
        ("compare", "--runs-dir", LONG),
        ("compare", LONG),
        ("records", "pack", LONG, "--out", "x"),
        ("data", "inspect", LONG),
        ("study", LONG),
        ("dashboard", LONG),
        ("reproduce", LONG),
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_odd_names_are_told_in_one_line(
    words: tuple[str, ...],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "run" and "data=" not in " ".join(words) and "--again" not in words:
        words = (*words, f"data={data}")
    assert bench(*words) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1 and err.startswith("bench: ")


def test_the_page_of_a_name_that_no_file_can_have_is_told(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "--runs-dir", str(runs_dir), "--out", str(runs_dir / LONG)) == 2
    assert "File name too long" in capsys.readouterr().err
    assert bench("compare", "--runs-dir", str(runs_dir), "--out", str(runs_dir / LONG)) == 2
    assert "File name too long" in capsys.readouterr().err


def test_report_and_compare_take_the_same_filters(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("report", "compare"):
        assert bench(command, "strategy=mnr,in_batch", "--runs-dir", str(runs_dir), "--metric", "recall@1") == 0
        shown = capsys.readouterr().out
        assert "in_batch" in shown and "| mined_hard" not in shown
        assert bench(command, "strategy=queue", "--runs-dir", str(runs_dir)) == 2
        assert "no record has strategy=queue; there is in_batch, mined_hard, mnr" in capsys.readouterr().err
