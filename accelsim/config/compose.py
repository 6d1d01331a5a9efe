"""Puts a design together from its file, the files it extends, and overrides.

``extends: NAME`` inside any mapping takes that library file's content as defaults for the mapping,
and keeps nothing of what an outer base had in its place.  An override replaces one field, named
by its dotted path, before expressions resolve; one of a field ``extends`` does so before bases are
merged, as if it stood in the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from accelsim.config.library import find
from accelsim.config.resolve import Resolved, resolve
from accelsim.config.schema import Model, validate
from accelsim.config.tree import Path_, Tree, load_tree
from accelsim.errors import ConfigError, Location

__all__ = ["Fingerprint", "compose", "fingerprint", "load_named", "load_resolved", "load_spec"]

Fingerprint = tuple[tuple[str, int, int], ...]
"""Path, time of change (ns) and size of a file and of every file that it extends."""

_composed: dict[tuple[Path, str], tuple[Fingerprint, Tree]] = {}


def compose(path: Path, kind: str = "arch", overrides: Mapping[str, Any] | None = None) -> Tree:
    """Return the tree of a file with everything it extends merged in and overrides applied.

    Raises
    ------
    ConfigError
        On a missing base, a chain of bases that comes back to itself, or an override inside
        something that has no fields.
    """
    bases = _bases(overrides)
    tree = _rebased(_resolve(path), kind, bases)
    fields = {name: value for name, value in (overrides or {}).items() if name not in bases}
    if not fields:
        return tree
    changed = Tree(deepcopy(tree.data), tree.file, dict(tree.values), dict(tree.keys))
    for dotted_path, value in fields.items():
        _override(changed, dotted_path, value)
    return changed


def _bases(overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the overrides that name another base."""
    return {name: v for name, v in (overrides or {}).items() if name.split(".")[-1] == "extends"}


def _rebased(path: Path, kind: str, bases: Mapping[str, Any]) -> Tree:
    """Return a file's tree with other bases than it names itself."""
    if not bases:
        return _compose(path, kind, (), [])
    tree = load_tree(path)
    for dotted_path, value in bases.items():
        _override(tree, dotted_path, value)
    tree.data = _expand(tree, tree.data, (), (kind, (path,), []))
    return tree


def fingerprint(path: Path, kind: str = "arch") -> Fingerprint:
    """Return what changes when the file, or one that it extends, does: a key for caches.

    Raises
    ------
    ConfigError
        As `compose`.
    """
    resolved = _resolve(path)
    _compose(resolved, kind, (), [])
    return _composed[resolved, kind][0]


@lru_cache(maxsize=4096)
def _resolve_absolute(path: Path) -> Path:
    return path.resolve()  # asks the file system for every part


def _resolve(path: Path) -> Path:
    return _resolve_absolute(path if path.is_absolute() else Path.cwd() / path)


def _stamp(name: str) -> tuple[str, int, int]:
    try:
        found = os.stat(name)  # noqa: PTH116 - for every point; making a Path costs more
    except OSError:
        return name, 0, 0
    return name, found.st_mtime_ns, found.st_size


def _compose(path: Path, kind: str, chain: tuple[Path, ...], read: list[Path]) -> Tree:
    """Return a file's tree, from the cache while its files are unchanged; `read` collects them."""
    if path in chain:
        names = " -> ".join(p.stem for p in (*chain, path))
        raise ConfigError(f"`extends` comes back to itself: {names}", Location(str(path)))
    kept = _composed.get((path, kind))
    if kept and all(_stamp(stamp[0]) == stamp for stamp in kept[0]):
        read += [Path(name) for name, *_ in kept[0]]
        return kept[1]
    mine = [path]
    stamp = _stamp(str(path))  # before reading: a change meanwhile is then noticed next time
    tree = load_tree(path)
    tree.data = _expand(tree, tree.data, (), (kind, (*chain, path), mine))
    stamps = (stamp, *(_stamp(str(p)) for p in dict.fromkeys(mine[1:])))
    _composed[path, kind] = stamps, tree
    read += mine
    return tree


_Walk = tuple[str, tuple[Path, ...], list[Path]]
"""Library folder, chain of files that extend each other, and the files read so far."""


def _expand(tree: Tree, node: Any, at: Path_, walk: _Walk) -> Any:
    if isinstance(node, list):
        return [_expand(tree, item, (*at, i), walk) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    own = {k: _expand(tree, v, (*at, k), walk) for k, v in node.items() if k != "extends"}
    if "extends" not in node:
        return own
    kind, chain, read = walk
    place = tree.locate((*at, "extends"))
    try:
        base_path = find(kind, str(node["extends"])).resolve()
    except ConfigError as error:
        raise ConfigError(error.message, place, "extends", error.hint) from None
    base = _compose(base_path, kind, chain, read)
    for where, location in base.values.items():
        tree.values.setdefault((*at, *where), location)
    for where, location in base.keys.items():
        tree.keys.setdefault((*at, *where), location)
    return _Whole(_merge(base.data, own))


class _Whole(dict[str, Any]):
    """A mapping that named its own base: it takes the place of an inherited one, whole."""


def _merge(base: Any, own: Any) -> Any:
    """Return `own` over `base`: mappings merge key by key, anything else is replaced.

    So is a mapping with a base of its own: another memory must not keep fields of the former.
    """
    if isinstance(own, _Whole) or not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    merged = dict(base)
    for key, value in own.items():
        merged[key] = _merge(base[key], value) if key in base else value
    return merged


def _override(tree: Tree, dotted_path: str, value: Any) -> None:
    node = tree.data
    walked: list[str] = []
    *parents, last = dotted_path.split(".")
    for part in parents:
        child = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(child, dict):
            raise ConfigError(
                f"`{'.'.join([*walked, part])}` is a value, it has no fields",
                Location(tree.file),
                dotted_path,
            )
        node = child
        walked.append(part)
    path = tuple(dotted_path.split("."))
    tree.values[path] = tree.keys[path] = Location(f"override {dotted_path}")
    node[last] = value


def load_resolved(
    path: Path, kind: str = "arch", overrides: Mapping[str, Any] | None = None
) -> Resolved:
    """Return a file's data, composed and with every expression evaluated."""
    return resolve(compose(path, kind, overrides))


def load_spec(
    path: Path,
    model: type[Model],
    kind: str = "arch",
    overrides: Mapping[str, Any] | None = None,
) -> Model:
    """Read a file into a typed object.

    Parameters
    ----------
    path : Path
        The YAML file.
    model : type
        The `Spec` that describes it.
    kind : str
        Library folder in which ``extends`` is sought.
    overrides : mapping, optional
        Dotted field path -> value, applied before expressions resolve.

    Raises
    ------
    ConfigError
        With file, line, field path, what was found and what is legal.
    """
    return validate(load_resolved(path, kind, overrides), model)


def load_named(
    name: str | Path, model: type[Model], kind: str, overrides: Mapping[str, Any] | None = None
) -> Model:
    """Return a design of the library; the same object again while its files are unchanged.

    Parameters
    ----------
    name : str or Path
        Name in the library folder `kind`, or path of a YAML file.
    model, kind, overrides
        As for `load_spec`; values of overrides must be hashable.

    Raises
    ------
    ConfigError
        As `load_spec`, and for a name that is not in the library.
    """
    path = find(kind, name)
    changes = tuple(sorted((overrides or {}).items()))
    files = fingerprint(path, kind)
    for base in _bases(overrides).values():
        files += fingerprint(find(kind, str(base)), kind)
    loaded: Model = _load_named(path, files, model, kind, changes)
    return loaded


@lru_cache(maxsize=512)
def _load_named(
    path: Path, files: Fingerprint, model: type[Model], kind: str, changes: tuple[Any, ...]
) -> Model:
    return load_spec(path, model, kind, dict(changes))
