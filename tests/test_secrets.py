"""No message, file or tracker has the password of a storage's URL, however it is written."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

import hypothesis
import hypothesis.strategies as st
import pytest
import wandb
from tiny import bench
from tiny_studies import words
from wandb_log import payloads

from bench.errors import UserError, without_secrets
from bench.study.storage import open_storage, reason

SECRET = "Zq9Xw7"
PLACES = "127.0.0.1:9/db"  # nobody listens
URLS = [
    f"postgresql+psycopg://me:{SECRET}@{PLACES}",
    f"postgresql+psycopg://me:{SECRET}/{SECRET}@{PLACES}",
    f"postgresql+psycopg://me:{SECRET}@{SECRET}@{PLACES}",
    f"postgresql+psycopg://me:/{SECRET}:{SECRET}?{SECRET}#@{PLACES}",
    f"postgresql+psycopg://me:%2F{SECRET}%40@{PLACES}",
    f"postgresql+psycopg://me:{quote(''.join(f'%{ord(c):02x}' for c in SECRET))}@{PLACES}",
    f"postgresql+psycopg://{PLACES}?user=me&password={SECRET}",
    f"postgresql+psycopg://me:{SECRET}@{PLACES}?passfile={SECRET}",
    f"sqlite:////nowhere/at/all.db?password={SECRET}",
    f"nosuch://me:{SECRET}@host/db",
    f"mysql+nosuch://me:{SECRET}@host:port/db",
    f"host=h user=me password={SECRET}",
    f"me:{SECRET}@host/db",
]
plainly = hypothesis.settings(deadline=None, derandomize=True, max_examples=200)


@pytest.mark.parametrize("url", URLS)
def test_a_storage_that_cannot_be_opened_is_told_without_its_password(
    url: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench("study", "margin", "--storage", url, *words(data, tmp_path)) == 2
    out, err = capfd.readouterr()
    assert SECRET not in out + err and "storage=" in err
    assert len([line for line in err.splitlines() if line.startswith("bench:")]) == 1


@pytest.mark.parametrize("url", URLS[:11])
@pytest.mark.parametrize("before", ["study margin sampler=", "study margin storag=", "run data=", "run storage="])
def test_nor_is_a_word_that_took_it_by_mistake(before: str, url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench(*f"{before}{url}".split()) == 2
    assert SECRET not in "".join(capfd.readouterr())


@plainly
@hypothesis.given(st.text("aZ9@/:?#&=%;+", min_size=1).map(lambda text: f"{SECRET}{text}{SECRET}"))
def test_any_password_is_hidden_written_plainly_or_encoded(password: str) -> None:
    for written in (password, quote(password, safe="")):
        for url in (f"postgresql://me:{written}@host:5432/db", f"postgresql://host/db?password={written}"):
            assert SECRET not in without_secrets(f"storage='{url}' cannot be opened")
            assert SECRET not in reason(OSError(f"no host {password.split('@')[-1]!r} for {url}"), url)
    with pytest.raises(UserError) as raised:
        open_storage(f"nosuch://me:{password}@host/db", Path("unused"))
    assert SECRET not in str(raised.value)


def test_what_is_no_secret_stays() -> None:
    for text in (
        "see https://docs.example.org/a/b.html, line 3: what?",
        "postgresql://me@host:5432/db",
        "C:\\data\\x.tsv:3: a@b.c",
        "sqlite:////dir/trials.db",
    ):
        assert without_secrets(text) == text
    assert without_secrets("postgresql://me:pw@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert reason(OSError("connection refused"), f"postgresql://me:{SECRET}@host/db") == "connection refused"


def test_a_study_leaves_its_password_nowhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In no byte of what a study with a database writes, W&B's log included, and of what it prints."""
    runs, database = tmp_path / "runs", tmp_path / "trials.db"
    given = [word if not word.startswith("track=") else "track=offline" for word in words(data, runs)]
    command = ["study", "margin", "trials=1", f"--storage=sqlite:///{database}?password={SECRET}", *given]
    monkeypatch.setattr(sys, "argv", ["bench", *command])
    assert bench(*command) == 0
    wandb.teardown()
    assert SECRET not in "".join(capfd.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    logs = [path for path in files if path.suffix == ".wandb"]
    assert len(logs) == 4 and database in files, "of one trial, of the defaults, and its three final runs"
    for log in logs:
        assert not any(SECRET.encode() in payload for payload in payloads(log))
