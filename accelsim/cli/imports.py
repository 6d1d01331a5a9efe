"""``accelsim import``: models from foreign files, as a model file or a saved workload graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._graphs import facts_of
from accelsim.cli._options import Batch, SeqLen
from accelsim.cli._output import facts, place, write, writing
from accelsim.cli.measured import import_measured
from accelsim.errors import ConfigError, nearest

if TYPE_CHECKING:
    from accelsim.workload import Phase, Workload

__all__ = ["imports"]

imports = typer.Typer(
    help="Read a model, or measured latencies, from foreign files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

imports.command("measured")(import_measured)

Pass = Annotated[str, typer.Option("--phase", help="forward, prefill or decode.")]
File = Annotated[Path, typer.Argument(help="The file.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where to write the graph; NAME.json unless given."),
]
Maps = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OPERATOR=FUNCTION",
                 help="What an unknown operator costs like, e.g. gelu or transfer. Repeatable."),
]  # fmt: skip


@imports.command("hf")
def hugging_face(
    file: Annotated[Path, typer.Argument(help="config.json of transformers or diffusers.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Model file to write; printed unless given."),
    ] = None,
) -> None:
    """Turn a Hugging Face configuration into a model file."""
    import yaml

    from accelsim.workload.families import family
    from accelsim.workload.importers.hf import from_hf_config

    found = from_hf_config(file)
    data = {
        "name": output.stem if output else found.name,
        "family": found.family,
        "source": str(file),
        "dtypes": found.dtypes.model_dump(exclude_none=True),
        "parameters": found.config.model_dump(mode="json", exclude_defaults=True),
    }
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=99)
    if output is None:
        write(text)
        return
    with writing(output):
        output.write_text(text, encoding="utf-8")
    count = family(found.family).parameter_count(found.config)
    write(f"{place(output)}: {found.family}, {count} parameters\n")


@imports.command("torch")
def from_module(
    target: Annotated[
        str, typer.Argument(help="package.module:function or file.py:function; see the docs.")
    ],
    output: Output = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE",
                     help="Argument of the function. Repeatable."),
    ] = None,
    maps: Maps = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="OPERATION", help="Costs nothing. Repeatable."),
    ] = None,
) -> None:  # fmt: skip
    """Record one pass of a PyTorch module, without weights."""
    from accelsim.workload.importers.torch import from_torch

    arguments = {name: _value(text) for name, text in _pairs(given, "--arg").items()}
    _finish(
        from_torch(target, arguments=arguments, map=_pairs(maps, "--map"), ignore=ignore or ()),
        output,
    )


@imports.command("onnx")
def from_onnx_file(
    file: File,
    output: Output = None,
    dims: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="NAME=SIZE",
                     help="Size of a dynamic dimension. Repeatable."),
    ] = None,
    maps: Maps = None,
    dtype: Annotated[
        str, typer.Option(help="Number format in place of the file's floating-point ones.")
    ] = "",
) -> None:  # fmt: skip
    """Read an ONNX file; its weights are not needed."""
    from accelsim.workload import Dtypes, dtype_bits
    from accelsim.workload.importers.onnx import from_onnx

    formats = None
    if dtype:
        dtype_bits(dtype)  # raises, naming the known ones
        formats = Dtypes(weight=dtype, activation=dtype, kv_cache=dtype)
    sizes = {name: _size(text, name) for name, text in _pairs(dims, "--dim").items()}
    _finish(from_onnx(file, sizes, _pairs(maps, "--map"), dtypes=formats), output)


@imports.command("einsum")
def from_einsums(
    file: File, output: Output = None, phase: Pass = "forward", batch: Batch = 1,
    seq_len: SeqLen = 1024,
) -> None:  # fmt: skip
    """Read a YAML file of einsums over iteration spaces."""
    from accelsim.workload import decode, forward, prefill
    from accelsim.workload.importers.einsum import from_einsum

    passes: dict[str, Callable[[int, int], Phase]] = {
        "forward": forward,
        "prefill": prefill,
        "decode": decode,
    }
    if phase not in passes:
        raise ConfigError(f"unknown phase `{phase}`", path="--phase", hint=nearest(phase, passes))
    _finish(from_einsum(file, passes[phase](batch, seq_len)), output)


@imports.command("scalesim")
def from_topology(file: File, output: Output = None) -> None:
    """Read a SCALE-Sim topology (CSV of convolutions or of matrix products)."""
    from accelsim.workload.importers.scalesim import from_scalesim

    _finish(from_scalesim(file), output)


@imports.command("timeloop")
def from_problem(file: File, output: Output = None) -> None:
    """Read a Timeloop problem (YAML of one iteration space)."""
    from accelsim.workload.importers.timeloop import from_timeloop

    _finish(from_timeloop(file), output)


def _finish(built: Workload, output: Path | None) -> None:
    """Save an imported graph, and say what it is."""
    from accelsim.workload.serial import save

    path = save(built, output or Path(f"{built.name.replace('/', '-')}.json"))
    write(f"{place(path)}: {built.name}\n", facts(facts_of(built)))
    write(
        "evaluate it with `accelsim run FILE ARCH`, look at it with `accelsim graph show FILE`\n"
    )


def _pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ConfigError(f"found `{text}`", path=option, hint="NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _value(text: str) -> Any:
    from accelsim.config import parse_tree

    return parse_tree(text, f"--arg {text}").data


def _size(text: str, name: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"`{text}` is no whole number of at least 1", path=f"--dim {name}")
    return int(text)
