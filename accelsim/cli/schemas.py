"""``accelsim schemas``: JSON Schemas of all configuration files, for editors that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import place, print_json, write, writing

__all__ = ["schemas"]


def schemas(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "schemas"
    ),
    as_json: Json = False,
) -> None:
    """Write the JSON Schemas of models, architectures, mappings and sweeps."""
    import json

    from accelsim.cli._schemas import all_schemas

    files = []
    for name, schema in all_schemas().items():
        file = output / f"{name}.schema.json"
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        with writing(file):
            output.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(file.name + ".partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(file)
        files.append(file)
    if as_json:
        print_json({"files": files})
        return
    write(*(place(file) for file in files))
