"""``bench dashboard``: the report in a browser, a study in Optuna's dashboard, or W&B pages."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.errors import UserError, install, nearest


def dashboard(name: str | None, runs_dir: Path, storage: str | None, port: int) -> None:
    """Serve Optuna's dashboard of the study whose directory is ``name``; without a name, open the report's page."""
    if name is None:
        import webbrowser

        page = _page(runs_dir).resolve()
        print(page)
        webbrowser.open(page.as_uri())
        return
    directory = runs_dir / "studies" / name
    if not (directory / "trials.log").exists() and storage is None:
        there = sorted(path.parent.name for path in runs_dir.glob("studies/*/trials.log"))
        known = (
            nearest(name, there) if there else "; create one with bench study, or give --storage for one in a database"
        )
        raise UserError(f"there is no study at {directory}{known}")
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise UserError(f"Optuna's dashboard is not installed: {install('dashboard')}") from None
    from bench.study.storage import open_storage

    print(f"http://localhost:{port} shows {name}; Ctrl-C ends it", file=sys.stderr)
    run_server(open_storage(storage, directory), host="localhost", port=port)


def _page(runs_dir: Path) -> Path:
    from bench.record.ledger import read
    from reports.report import write

    return write(read(runs_dir), runs_dir, runs_dir / "report", against="in_batch")


def wandb_pages(runs_dir: Path) -> None:
    """Build the project's W&B workspace and report from the records, and save them if an API key is configured."""
    from bench.record.ledger import read
    from bench.track.mode import entity, has_key, project
    from reports.parts import parts

    try:
        from reports.workspace import kinds_of, report, workspace
    except ImportError:
        raise UserError(f"wandb-workspaces is not installed: {install('dashboard')}") from None
    if not has_key():
        raise UserError("there is no W&B API key (run `wandb login`), so the workspace and the report cannot be saved")
    import wandb

    owner = entity() or wandb.Api().default_entity or ""
    found = parts(read(runs_dir).records, runs_dir)
    for page in (workspace(owner, project(), kinds_of(found)), report(owner, project(), found)):
        print(page.save().url)
