"""``accelsim list`` and ``accelsim show``: what there is by name, and what a name stands for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import facts, place, print_json, table, write
from accelsim.errors import AccelsimError, ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["list_names", "show"]


class Listed(StrEnum):
    """What ``accelsim list`` can list."""

    MODELS = "models"
    ARCHS = "archs"
    MAPPINGS = "mappings"
    SWEEPS = "sweeps"
    FUSIONS = "fusions"
    UNITS = "units"
    MEMORIES = "memories"
    LINKS = "links"
    OPERATORS = "operators"
    TECHNOLOGY = "technology"


_FOLDERS = {
    Listed.MODELS: "models", Listed.ARCHS: "arch", Listed.MAPPINGS: "mapping",
    Listed.SWEEPS: "sweeps", Listed.FUSIONS: "mapping/fusion",
}  # fmt: skip
_ROLES = {Listed.UNITS: "unit", Listed.MEMORIES: "memory", Listed.LINKS: "link"}


class Kind(StrEnum):
    """Kinds of design that ``accelsim show`` knows."""

    MODEL = "model"
    ARCH = "arch"
    MAPPING = "mapping"
    SWEEP = "sweep"
    FUSION = "fusion"

    @property
    def folder(self) -> str:
        """Library folder of the kind."""
        others = {"model": "models", "sweep": "sweeps", "fusion": "mapping/fusion"}
        return others.get(self.value, self.value)


def list_names(
    what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: Json = False
) -> None:
    """List what there is by name: designs, kinds of components and operators, sourced figures."""
    if what is Listed.TECHNOLOGY:
        _list_technology(as_json)
        return
    found = list(_designs(_FOLDERS[what]) if what in _FOLDERS else _kinds(what))
    if as_json:
        print_json([{"name": n, "description": d, "file": str(f)} for n, d, f in found])
        return
    rows = [[name, description, place(file)] for name, description, file in found]
    write(table([("name", "<"), ("what it is", "~"), ("file", "~")], [("", rows)]))


def _list_technology(as_json: bool) -> None:
    """List every figure of energy, area and price with its unit and citation."""
    from dataclasses import asdict

    from accelsim.cost._technology import rows

    found = rows()
    if as_json:
        print_json([asdict(row) for row in found])
        return
    sections: dict[str, list[list[str]]] = {}
    for row in found:
        node = "" if row.technology_nm is None else f"{row.technology_nm:g}"
        value, source = f"{row.value:.4g} {row.unit}", row.source.partition(" [")[0]
        sections.setdefault(row.table, []).append([row.name, node, value.strip(), source])
    columns = [("figure", "~"), ("nm", ">"), ("value", "<"), ("source", "~")]
    write(table(columns, sections.items()))


def _designs(folder: str) -> Iterator[tuple[str, str, Path]]:
    from accelsim.config import library

    for name, file in library.paths(folder).items():
        yield name, _described(folder, file), file


def _described(folder: str, file: Path) -> str:
    """Return one line on a design; what is wrong with its file where it cannot be read."""
    from accelsim.cli._numbers import parameters
    from accelsim.config import compose

    try:
        data = compose(file, folder).data
    except AccelsimError as error:
        return f"unreadable: {getattr(error, 'message', error)}"
    if not isinstance(data, dict):
        return "unreadable: not a mapping"
    text = " ".join(str(data.get("description", "")).split())
    if folder == "models":
        known = data.get("published_parameters")
        size = f", {parameters(known)}" if isinstance(known, (int, float)) else ""
        text = f"{data.get('family', 'no family')}{size}{'; ' if text else ''}{text}"
    return text


def _kinds(what: Listed) -> Iterator[tuple[str, str, Path]]:
    """Yield the component kinds of a role, or the operator kinds, by their files."""
    import ast

    from accelsim import registry

    package = Path(registry.__file__).parent
    kind = "operator" if what is Listed.OPERATORS else "cost"
    names = registry.names(kind)
    if what in _ROLES:
        from accelsim.arch import component_kinds

        names = tuple(sorted(component_kinds(_ROLES[what])))
    for name in names:
        file = package / registry.FOLDERS[kind] / f"{name}.py"
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        yield name, " ".join(text.partition("\n\n")[0].split()), file


def _any_name(incomplete: str) -> list[str]:
    from accelsim.config import library

    return [n for k in Kind for n in library.names(k.folder) if n.startswith(incomplete)]


def show(
    name: Annotated[
        str, typer.Argument(help="A name of any kind, or a file.", autocompletion=_any_name)
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="Its kind, where a name stands for several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a design of any kind: figures, and each parameter's source."""
    from accelsim.cli._describe import describe

    found, file = _find(name, kind)
    design = describe(found.value, name, file)
    if as_json:
        print_json(design.data())
        return
    write(f"{found.value} {design.name}, {place(file)}\n")
    write(facts([fact.label, fact.text] for fact in design.facts))
    sources = {p.source: "" for p in design.parameters if not p.is_derived}
    sources = {text: f"[{number}]" for number, text in enumerate(sources, 1)}
    rows = [[p.path, p.text, sources.get(p.source, p.source)] for p in design.parameters]
    write(table([("parameter", "<"), ("value", "~"), ("source", "~")], [("", rows)]))
    write(facts([mark, text] for text, mark in sources.items()))


def _find(name: str, kind: Kind | None) -> tuple[Kind, Path]:
    """Return the kind and the file of a name or path.

    Raises
    ------
    UnknownNameError
        If nothing has the name; carries the nearest of all kinds.
    ConfigError
        If several kinds have it, or a file is of no kind.
    """
    from accelsim.config import library

    if kind is not None:
        return kind, library.find(kind.folder, name)
    if Path(name).is_dir() or Path(name).suffix in (".yaml", ".yml", ".json") or "/" in name:
        return _kind_of_file(name)
    holders = {k: library.paths(k.folder) for k in Kind}
    matches = [k for k, paths in holders.items() if name in paths]
    if not matches:
        raise UnknownNameError("name", name, {n for paths in holders.values() for n in paths})
    if len(matches) > 1:
        raise ConfigError(
            f"`{name}` is a {' and a '.join(matches)}", hint=f"add --kind {matches[0].value}"
        )
    return matches[0], holders[matches[0]][name]


# What only a file of that kind has at its top.
_MARKS: dict[str, Kind] = {
    "model_type": Kind.MODEL, "parameters": Kind.MODEL, "device": Kind.ARCH, "place": Kind.MAPPING,
    "objectives": Kind.SWEEP, "space": Kind.SWEEP, "split": Kind.FUSION, "shared": Kind.FUSION,
    "together": Kind.FUSION,
}  # fmt: skip


def _kind_of_file(name: str) -> tuple[Kind, Path]:
    from accelsim.config import load_tree

    file = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    data: Any = load_tree(file).data
    for key, kind in _MARKS.items():
        if isinstance(data, dict) and key in data:
            return kind, file
    raise ConfigError(
        f"{name}: neither a model nor an architecture, a mapping or a sweep",
        hint="add --kind to see what is missing",
    )
