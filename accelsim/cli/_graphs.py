"""What several commands say about a workload graph, and how they find one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from accelsim.cli._numbers import si
from accelsim.cli._options import read_overrides
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.workload import Workload
    from accelsim.workload.cascade import Cascade

__all__ = ["cascade_of_source", "facts_of", "graph_of"]


def graph_of(
    source: str, phase: str, batch: int, seq_len: int, changes: Sequence[str] | None
) -> Workload:
    """Return a saved graph, or one pass of a model.

    Parameters
    ----------
    source : str
        File of a saved graph, or a model.
    phase : str
        A pass; empty for the usual one of the model's family.
    """
    from accelsim.workload import load_model, phase_of, read_request, workload
    from accelsim.workload.families import family
    from accelsim.workload.serial import is_graph, load

    if is_graph(source):
        return load(source)
    split: dict[str, dict[str, object]] = {"model": {}, "workload": {}}
    for path, value in read_overrides(changes).items():
        head, _, rest = path.partition(".")
        if head not in split or not rest:
            raise ConfigError("a path here begins with model. or workload.", path=f"--set {path}")
        split[head][rest] = value
    spec = load_model(source, split["model"])
    request = read_request(split["workload"])
    kinds = family(spec.family).PHASES
    if not phase and not kinds:
        raise ConfigError(
            f"`{spec.name}` is a pipeline: it has no single pass",
            hint="name one of its networks: " + ", ".join(s.model for s in spec.parameters.stages),
        )
    asked = phase_of(spec, phase or kinds[0], batch, seq_len, request)
    return workload(spec, asked, conventions=request.conventions)


def cascade_of_source(
    source: str, phase: str, batch: int, seq_len: int, changes: Sequence[str] | None,
    block: str = "",
) -> Cascade:  # fmt: skip
    """Return the cascade of a model written as Einsums, else of a block of its graph.

    Parameters
    ----------
    source, phase, batch, seq_len, changes
        As for `graph_of`.
    block : str
        Which block, where there are several.
    """
    from accelsim.workload import load_model, phase_of
    from accelsim.workload.cascade import cascade_of
    from accelsim.workload.serial import is_graph

    if is_graph(source) or (spec := load_model(source)).family != "einsum":
        return cascade_of(graph_of(source, phase, batch, seq_len, changes), block=block)
    overrides = {}
    for path, value in read_overrides(changes).items():
        head, _, rest = path.partition(".")
        if head != "model" or not rest:
            raise ConfigError("a path here begins with model.", path=f"--set {path}")
        overrides[rest] = value
    spec = load_model(source, overrides) if overrides else spec
    return cascade_of(spec, phase_of(spec, phase or "forward", batch, seq_len), block=block)


def facts_of(built: Workload) -> Iterator[tuple[str, str]]:
    """Yield name and text of what a workload is and does."""
    from accelsim.workload import Role, flop_split, resident_bytes, totals

    total, resident = totals(built), resident_bytes(built)
    yield "pass", built.phase
    idle = f", {si(built.idle_parameters, '')} of them idle" if built.idle_parameters else ""
    active = f", {si(built.active_parameters, '')} active"
    many = active if built.active_parameters != built.parameters else ""
    yield "parameters", f"{built.parameters}{many}{idle}"
    split = sorted(flop_split(built).items(), key=lambda item: -item[1])
    parts = ", ".join(f"{label} {si(flops, '')}" for label, flops in split)
    yield "FLOPs", f"{si(total.flops, '')}: {parts}" if parts else "none"
    if total.masked_macs or total.zero_macs:
        yield "effectual", f"{si(total.effectual_flops, '')} without masked pairs and zero weights"
    yield "vector ops", si(total.vector_ops, "")
    held, read = si(resident[Role.WEIGHT], "B"), si(total.weight_read_bytes, "B")
    yield "weights", f"{held} held, {read} read"
    if built.kv_bytes_per_token or resident[Role.KV_CACHE]:
        yield "KV cache", f"{built.kv_bytes_per_token} B per token and sequence"
    if built.state_bytes_per_sequence:
        yield "state", f"{si(built.state_bytes_per_sequence, 'B')} per sequence"
    activations = total.activation_read_bytes + total.activation_write_bytes
    yield "activations", f"{si(activations, 'B')} read and written"
    yield from built.conventions.items()
