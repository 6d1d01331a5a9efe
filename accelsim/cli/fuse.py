"""``accelsim fuse``: a cascade whose tensors stay on chip, under several policies side by side."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._graphs import cascade_of_source
from accelsim.cli._options import Arch, Batch, Json, SeqLen, Set, read_overrides
from accelsim.cli._output import print_json, write
from accelsim.errors import ConfigError, MappingError

if TYPE_CHECKING:
    from accelsim.arch import ArchitectureSpec
    from accelsim.cli._fusion_text import Ran
    from accelsim.mapping.fusion import FusionPolicy
    from accelsim.nest.fuse import FusedDevice
    from accelsim.workload.cascade import Cascade

__all__ = ["fuse"]


class FuseFor(StrEnum):
    """What a fusion makes small."""

    ENERGY = "energy"
    LATENCY = "latency"
    TRAFFIC = "traffic"
    EDP = "edp"


def _policies(incomplete: str) -> list[str]:
    from accelsim.config import library

    return [name for name in library.names("mapping/fusion") if name.startswith(incomplete)]


def fuse(
    source: Annotated[
        str, typer.Argument(help="A model written as Einsums, another model, or a saved graph.")
    ],
    arch: Arch,
    policies: Annotated[
        list[str],
        typer.Argument(
            help="Fusion policies: names of `accelsim list fusions`, or YAML files.",
            autocompletion=_policies,
        ),
    ],
    objective: Annotated[FuseFor, typer.Option(help="What to make small.")] = FuseFor.ENERGY,
    dtype: Annotated[
        str, typer.Option(help="Format of all tensors, in place of the model's own.")
    ] = "",
    block: Annotated[
        str, typer.Option("--block", help="Block of a model that is not written as Einsums.")
    ] = "",
    phase: Annotated[
        str, typer.Option("--phase", help="prefill, decode, mixed or forward; the usual one.")
    ] = "",
    batch: Batch = 1,
    seq_len: SeqLen = 1024,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Fuse a cascade on a spatial array: groups, shared loops, tiles and what stays on chip.

    Paths of --set begin with model., workload., arch. or policy.; the last changes every policy.
    """
    from accelsim.cli._fusion_text import comparison, groups_text, plain

    own, others = _split(changes)
    cascade = _typed(cascade_of_source(source, phase, batch, seq_len, others, block), dtype)
    runs = [_run(cascade, arch, name, objective.value, own) for name in policies]
    if as_json:
        print_json({
            "cascade": cascade.name, "arch": arch, "objective": objective.value,
            "fusions": [plain(one) for one in runs],
        })  # fmt: skip
        return
    write(f"{cascade.name} on {arch}, least {objective.value}\n", comparison(runs))
    for one in runs:
        write(groups_text(one))


def _split(changes: list[str] | None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return what changes the architecture and the policies, and the texts of all else."""
    own: dict[str, dict[str, Any]] = {"arch": {}, "policy": {}}
    others = []
    for text, (path, value) in zip(changes or (), read_overrides(changes).items(), strict=True):
        head, _, rest = path.partition(".")
        if head in own and rest:
            own[head][rest] = value
        else:
            others.append(text)
    return own, others


def _typed(cascade: Cascade, dtype: str) -> Cascade:
    """Return a cascade whose tensors all have a format."""
    from dataclasses import replace

    from accelsim.workload.tensor import dtype_bits

    if not dtype:
        return cascade
    dtype_bits(dtype)
    tensors = {name: replace(one, dtype=dtype) for name, one in cascade.tensors.items()}
    return replace(cascade, tensors=tensors)


def _device(cascade: Cascade, architecture: ArchitectureSpec, policy: FusionPolicy) -> FusedDevice:
    """Return the device for operands in the format of those of the first product."""
    from accelsim.mapping.fusion import device_of

    products = [one for one in cascade.einsums if "mac" in one.operations] or cascade.einsums
    dtype = str(cascade.tensors[products[0].operands[0].tensor].dtype)
    try:
        return device_of(architecture, policy, dtype)
    except ConfigError as error:
        if error.hint or dtype not in error.message:
            raise
        hint = f"the operands are {dtype}; `--dtype` and `--set policy.` change that"
        raise ConfigError(error.message, error.location, error.path, hint) from error


def _run(
    cascade: Cascade, arch: str, name: str, objective: str, own: dict[str, dict[str, Any]]
) -> Ran:
    from time import perf_counter

    from accelsim import arch as architectures
    from accelsim.cli._fusion_text import Ran
    from accelsim.mapping.fusion import fuse_cascade, load_fusion_policy

    architecture = architectures.load(arch, own["arch"])
    policy = load_fusion_policy(name, own["policy"])
    began = perf_counter()
    try:
        device = _device(cascade, architecture, policy)
        found = fuse_cascade(cascade, device, policy, objective)  # type: ignore[arg-type]
    except MappingError as error:
        raise MappingError(f"under `{policy.name}`: {error}") from error
    return Ran(policy.name, device, found, perf_counter() - began)
