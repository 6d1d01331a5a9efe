"""Arguments and options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.result import Result

__all__ = [
    "Arch", "Batch", "Check", "Engine", "EngineName", "Exact", "Json", "Mapping", "Model", "Phase",
    "PhaseName", "SeqLen", "Set", "evaluate_point", "read_overrides",
]  # fmt: skip


def _complete(kind: str, incomplete: str) -> Iterable[str]:
    from accelsim.config import library

    return [name for name in library.names(kind) if name.startswith(incomplete)]


def _models(incomplete: str) -> Iterable[str]:
    return _complete("models", incomplete)


def _architectures(incomplete: str) -> Iterable[str]:
    return _complete("arch", incomplete)


def _mappings(incomplete: str) -> Iterable[str]:
    return _complete("mapping", incomplete)


class PhaseName(StrEnum):
    """A pass, or with ``generate`` the whole generation."""

    PREFILL = "prefill"
    DECODE = "decode"
    MIXED = "mixed"
    FORWARD = "forward"
    GENERATE = "generate"


class EngineName(StrEnum):
    """Event engines."""

    NUMBA = "numba"
    SIMPY = "simpy"


Model = Annotated[
    str,
    typer.Argument(
        help="Model: a name, a YAML file, or a Hugging Face config.json.", autocompletion=_models
    ),
]
Arch = Annotated[
    str,
    typer.Argument(help="Architecture: a name or a YAML file.", autocompletion=_architectures),
]
Mapping = Annotated[
    str, typer.Argument(help="Mapping policy: a name or a YAML file.", autocompletion=_mappings)
]
Phase = Annotated[PhaseName, typer.Option(help="A pass, or `generate` for a whole generation.")]
Batch = Annotated[int, typer.Option(help="Sequences.")]
SeqLen = Annotated[
    int, typer.Option(help="Tokens per sequence: new ones in prefill, cached ones in decode.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change a parameter, e.g. arch.device.units.array.rows=64, mapping.dataflow=os or "
        "workload.height=512; units are understood. Repeatable.",
    ),
]
Engine = Annotated[EngineName, typer.Option(help="Event engine: the fast or the readable one.")]
Check = Annotated[
    bool, typer.Option("--check", help="Check conservation of bytes, MACs, energy and time.")
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Simulate every layer; extend no steady state.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def read_overrides(texts: Sequence[str] | None) -> dict[str, Any]:
    """Return the parameters that ``--set`` changes.

    Parameters
    ----------
    texts : sequence of str or None
        Each ``path=value``; the value is read as a YAML file's would be.

    Raises
    ------
    ConfigError
        If a text has no ``=``, or a path stands twice.

    Examples
    --------
    >>> read_overrides(["arch.devices=4", "arch.link.bandwidth_bytes_per_s=900 GB/s"])
    {'arch.devices': 4, 'arch.link.bandwidth_bytes_per_s': '900 GB/s'}
    """
    from accelsim.config import parse_tree

    overrides: dict[str, Any] = {}
    for text in texts or ():
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not path or not value.strip():
            raise ConfigError(
                f"found `{text}`", path="--set", hint="PATH=VALUE, for example arch.devices=4"
            )
        if path in overrides:
            raise ConfigError(f"`{path}` is set twice", path="--set")
        read = parse_tree(value, f"--set {text}").data
        if isinstance(read, (dict, list)):
            raise ConfigError(
                "a number or a text is needed", path=f"--set {path}",
                hint="to change a list or a mapping, write a YAML file that extends this one",
            )  # fmt: skip
        overrides[path] = read
    return overrides


def evaluate_point(
    model: str, arch: str, mapping: str, phase: PhaseName, batch: int, seq_len: int,
    changes: Sequence[str] | None, engine: EngineName, check: bool, exact: bool,
) -> Result:  # fmt: skip
    """Evaluate the pass that a command's arguments name."""
    from accelsim.evaluation import evaluate

    if phase is PhaseName.GENERATE:
        raise ConfigError("a pass is needed, not a whole generation", path="--phase")

    return evaluate(
        model, arch, mapping, phase=phase.value, batch=batch, seq_len=seq_len,
        overrides=read_overrides(changes), engine=engine.value, check=check or None, exact=exact,
    )  # fmt: skip
