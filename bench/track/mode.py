"""The mode and project of W&B, determined without a network and without importing wandb."""

from __future__ import annotations

import configparser
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from bench.setting import place_named

MODES = ("auto", "online", "offline", "none")
PROJECT = "negbench"

_MODES = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "none",
}


def resolve() -> str:
    """``online``, ``offline`` or ``none``: from ``WANDB_MODE``, and online only with an API key."""
    asked = os.environ.get("WANDB_MODE") or _settings().get("mode", "online")
    mode = _MODES.get(asked, "online")
    return "offline" if mode == "online" and not has_key() else mode


def project() -> str:
    """The W&B project: ``WANDB_PROJECT``, or else the default."""
    return os.environ.get("WANDB_PROJECT") or PROJECT


def entity() -> str | None:
    """The W&B entity that ``WANDB_ENTITY`` names; without it W&B's default."""
    return os.environ.get("WANDB_ENTITY") or None


def has_key() -> bool:
    """Whether an API key is in the environment, in W&B's settings or in the netrc file for W&B's host."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = _settings()
    if settings.get("api_key"):
        return True
    url = os.environ.get("WANDB_BASE_URL") or settings.get("base_url", "https://api.wandb.ai")
    path = place_named(os.environ.get("NETRC", "~/.netrc"))
    try:
        return netrc.netrc(path).authenticators(urlsplit(url).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _settings() -> dict[str, str]:
    """The settings that ``wandb login`` and ``wandb offline`` wrote; this directory's override the user's."""
    home = place_named(os.environ.get("WANDB_CONFIG_DIR", "~/.config/wandb"))
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read([home / "settings", Path("wandb") / "settings"])
    except (configparser.Error, UnicodeDecodeError):
        return {}
    return dict(parser["default"]) if "default" in parser else {}
