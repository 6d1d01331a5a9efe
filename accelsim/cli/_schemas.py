"""JSON Schemas of the configuration files, from the types that read them.

What the YAML reader adds to those types is added here too: ``extends`` in any mapping, beside
which no field is required, since the file extended has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["all_schemas"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EXTENDS = {"type": "string", "description": "Library file whose content is the default here."}


def all_schemas() -> dict[str, dict[str, Any]]:
    """Return name -> schema; the same bytes for the same types, whatever the run."""
    from accelsim.arch import ArchitectureSpec
    from accelsim.explore import SweepSpec
    from accelsim.explore.papers import PaperSpec
    from accelsim.mapping import MappingSpec
    from accelsim.mapping.fusion import FusionPolicy

    found = {
        "model": _model_schema(),
        "arch": ArchitectureSpec.model_json_schema(),
        "mapping": MappingSpec.model_json_schema(),
        "sweep": SweepSpec.model_json_schema(),
        "paper": PaperSpec.model_json_schema(),
        "fusion": FusionPolicy.model_json_schema(),
    }
    return {name: _finished(name, schema) for name, schema in found.items()}


def _model_schema() -> dict[str, Any]:
    """Return the schema of a model of any family; ``family`` has its name in each."""
    from typing import Literal, Union

    from pydantic import TypeAdapter, create_model

    from accelsim.workload import ModelSpec
    from accelsim.workload.families import families, family

    make: Any = create_model  # the types exist only now, so no checker can follow
    models = [
        make(
            f"{name.title()}Model",
            __base__=ModelSpec.__class_getitem__(family(name).Config),
            family=(Literal[name], ...),
        )
        for name in families()
    ]
    of_any_family: Any = Union.__getitem__(tuple(models))
    return TypeAdapter(of_any_family).json_schema()


def _finished(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    extended = _extensible(schema)
    definitions = extended.pop("$defs", {})
    return {
        "$schema": _DIALECT,
        "title": f"accelsim {name}",
        **{key: value for key, value in extended.items() if key != "title"},
        **({"$defs": dict(sorted(definitions.items()))} if definitions else {}),
    }


def _extensible(node: Any) -> Any:
    """Return the schema with ``extends`` allowed in every mapping."""
    if isinstance(node, list):
        return [_extensible(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: _under(key, value) for key, value in node.items() if key != "discriminator"}
    if "oneOf" in made:  # a part that extends another need not say which kind it is
        made["anyOf"] = made.pop("oneOf")
    if node.get("type") != "object":
        return made
    if "properties" not in node:
        return {**made, "properties": {"extends": _EXTENDS}}
    fields, required = made.pop("properties"), made.pop("required", [])
    return {
        **{key: value for key, value in made.items() if key != "additionalProperties"},
        "if": {"required": ["extends"]},
        "then": {
            "properties": {"extends": _EXTENDS, **dict.fromkeys(fields, True)},
            "additionalProperties": False,
        },
        "else": {"properties": fields, "required": required, "additionalProperties": False},
    }


def _under(key: str, value: Any) -> Any:
    if key in ("properties", "$defs"):  # names of the user's, not of JSON Schema
        return {name: _extensible(schema) for name, schema in value.items()}
    return value if key in ("default", "const", "enum", "examples") else _extensible(value)
