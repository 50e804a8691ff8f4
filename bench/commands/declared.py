"""Names of settings, strategies and studies as the source declares them, read without importing it.

Importing the strategies imports torch, which takes seconds; a completion has to answer at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bench.record.serialize import as_override

ROOT = Path(__file__).parents[2]
_REGISTERED = re.compile(r'^@register\(\s*"(\w+)"', re.MULTILINE)


def strategies() -> dict[str, str]:
    """The module of every strategy by its name, in alphabetical order."""
    return _registered("strategies")


def studies() -> list[str]:
    """The names of all studies, in alphabetical order."""
    return sorted(path.stem for path in (ROOT / "studies").glob("*.py") if path.stem not in ("__init__", "base"))


def settings() -> dict[str, tuple[str, ...]]:
    """Every setting of a run but the strategy's, by its dotted key, with its values where those are fixed."""
    run, module = "RunConfig", "bench.config.run"
    found: dict[str, tuple[str, ...]] = {}
    for key, kind, _ in _fields(module, run):
        place = _where(module, kind)
        if key == "strategy":
            continue
        if place is None:
            found[key] = _of_kind(kind)
        else:
            found |= {f"{key}.{name}": _of_kind(own) for name, own, _ in _fields(place, kind)}
            found |= _choices(place, kind)
    return found | _choices(module, run)


def defaults() -> dict[str, str]:
    """The default of every setting of a run but the strategy's, as the command line takes it, where it can be read."""
    run, module = "RunConfig", "bench.config.run"
    found: dict[str, str] = {}
    for key, kind, value in _fields(module, run):
        if (place := _where(module, kind)) is not None and key != "strategy":
            found |= {f"{key}.{name}": _written(own) for name, _, own in _fields(place, kind)}
        else:
            found[key] = _written(value)
    return {key: text for key, text in found.items() if text}


def knobs(strategy: str) -> dict[str, tuple[str, ...]]:
    """The knobs of a strategy by name, with their values where those are fixed. Raises ``KeyError`` for no strategy."""
    module = strategies()[strategy]
    classes = (node for node in _tree(module).body if isinstance(node, ast.ClassDef))
    registered = f"register('{strategy}')"
    (name,) = (node.name for node in classes if registered in map(ast.unparse, node.decorator_list))
    return _knobs(module, name)


def _knobs(module: str, name: str) -> dict[str, tuple[str, ...]]:
    """A field that is a strategy itself, as the stages of a chain are, has knobs ``field.knob``."""
    found: dict[str, tuple[str, ...]] = {}
    for key, kind, _ in _fields(module, name):
        place = _where(module, kind)
        if place is None:
            found[key] = _of_kind(kind)
        else:
            found |= {f"{key}.{own}": values for own, values in _knobs(place, kind).items()}
    return found | _knob_choices(module, name)


def names_of(module: str, constant: str) -> tuple[str, ...]:
    """The texts that a tuple lists or a mapping has for keys, of those that can be read."""
    value = _assigned(module, constant)
    if isinstance(value, ast.Dict):
        return tuple(text for key in value.keys if (text := _text(module, key)))
    found: list[str] = []
    for entry in getattr(value, "elts", ()):
        if isinstance(entry, ast.Starred) and isinstance(entry.value, ast.Name):
            found += names_of(module, entry.value.id)
        elif text := _text(module, entry):
            found.append(text)
    return tuple(found)


def _registered(package: str) -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / package.replace(".", "/")).glob("*.py")):
        for name in _REGISTERED.findall(path.read_text(encoding="utf-8")):
            found[name] = f"{package}.{path.stem}"
    return dict(sorted(found.items()))


@cache
def _tree(module: str) -> ast.Module:
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _class(module: str, name: str) -> ast.ClassDef | None:
    return next((n for n in _tree(module).body if isinstance(n, ast.ClassDef) and n.name == name), None)


def _imported(module: str, name: str) -> str | None:
    """The module that ``name`` is imported from, within this project."""
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return node.module if (ROOT / node.module.partition(".")[0]).is_dir() else None
    return None


def _where(module: str, name: str) -> str | None:
    """The module that defines the class ``name`` which ``module`` knows."""
    if _class(module, name) is not None:
        return module
    source = _imported(module, name)
    return None if source is None else _where(source, name)


def _fields(module: str, name: str) -> Iterator[tuple[str, str, ast.expr | None]]:
    """The fields of a dataclass with their annotations and defaults, those of its bases first."""
    node = _class(module, name)
    assert node is not None
    for base in node.bases:
        if isinstance(base, ast.Name) and (place := _where(module, base.id)):
            yield from _fields(place, base.id)
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            kind = ast.unparse(part.annotation)
            if not kind.startswith("ClassVar"):
                yield part.target.id, kind, part.value


def _written(value: ast.expr | None) -> str:
    """A literal as a word of the command line; nothing for what is none."""
    try:
        return "" if value is None else as_override(ast.literal_eval(value))
    except ValueError:
        return ""


def _of_kind(annotation: str) -> tuple[str, ...]:
    return ("true", "false") if annotation == "bool" else ()


def _choices(module: str, name: str) -> dict[str, tuple[str, ...]]:
    """The values that a configuration checks its settings against, by ``choice(key, value, allowed)``."""
    found = {}
    for call in ast.walk(_class(module, name) or ast.Module([], [])):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "choice" and len(call.args) == 3:
            key, allowed = call.args[0], call.args[2]
            if isinstance(key, ast.Constant) and isinstance(allowed, ast.Name):
                found[str(key.value)] = names_of(module, allowed.id)
            elif isinstance(key, ast.Constant) and isinstance(allowed, ast.Call):  # whatever is registered beside it
                found[str(key.value)] = tuple(_registered(module.rpartition(".")[0]))
    return found


def _knob_choices(module: str, name: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    node = _class(module, name)
    assert node is not None
    for base in node.bases:
        if isinstance(base, ast.Name) and (place := _where(module, base.id)):
            found |= _knob_choices(place, base.id)
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and isinstance(part.value, ast.Call):
            given = next((k.value for k in part.value.keywords if k.arg == "choices"), None)
            if isinstance(given, ast.Tuple):
                found[part.target.id] = tuple(text for entry in given.elts if (text := _text(module, entry)))
            elif isinstance(given, ast.Name):
                found[part.target.id] = names_of(module, given.id)
            elif isinstance(given, ast.Call) and given.args and isinstance(given.args[0], ast.Name):  # tuple(TABLE)
                found[part.target.id] = names_of(module, given.args[0].id)
    return found


def _assigned(module: str, name: str) -> ast.expr | None:
    """The value of a constant that ``module`` has or imports."""
    for node in _tree(module).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return getattr(node, "value", None)
    source = _imported(module, name)
    return None if source is None else _assigned(source, name)


def _text(module: str, node: ast.expr | None) -> str | None:
    """A constant as a word of the command line; ``MODULE.CONSTANT`` is looked up."""
    if isinstance(node, ast.Constant):
        return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        package = _imported(module, node.value.id)
        return None if package is None else _text(package, _assigned(f"{package}.{node.value.id}", node.attr))
    return None
