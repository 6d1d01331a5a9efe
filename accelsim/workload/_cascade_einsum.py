"""The cascade of a workload written as Einsums.

Statements stay as they are; a softmax or a norm is written out as its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from accelsim.errors import ConfigError, GraphError
from accelsim.workload._cascade_build import Described, assemble
from accelsim.workload._cascade_core import Cascade, Einsum, einsum_of
from accelsim.workload._cascade_rows import norm_statements, softmax_statements
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._einsum_config import EinsumConfig, StepConfig, rank_sizes
from accelsim.workload.families._einsum_steps import steps_of
from accelsim.workload.families._einsum_text import Statement, parse
from accelsim.workload.ops.norm import OPS_PER_ELEMENT as NORMS
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role

__all__ = ["of_einsums", "role_dtypes"]


def role_dtypes(dtypes: Dtypes) -> dict[Role, str]:
    """Return the number format of each role."""
    return {
        Role.WEIGHT: dtypes.weight, Role.ACTIVATION: dtypes.activation,
        Role.KV_CACHE: dtypes.kv_cache, Role.STATE: dtypes.state,
    }  # fmt: skip


@lru_cache(maxsize=512)
def of_einsums(
    config: EinsumConfig, phase: Phase | None, *, dtypes: Dtypes, name: str = "einsum"
) -> Cascade:
    """Return the cascade of a configuration.

    Parameters
    ----------
    config : EinsumConfig
        Ranks, tensors and statements; steps that repeat stand once, with their number of times.
    phase : Phase, optional
        What gives the sizes of ranks that name them.
    dtypes : Dtypes
        Number formats of tensors that state none.
    name : str
        Of the cascade.

    Raises
    ------
    ConfigError
        Names the step, and what does not fit.
    """
    einsums: list[Einsum] = []
    for place, times, step in steps_of(config.einsums, "einsums"):
        try:
            found = parse(step.einsum or "")
            for one in _written_out(step, found):
                label, named = step.label, step.name if one is found else ""
                einsums.append(einsum_of(one, named, times, label))
        except GraphError as error:
            raise ConfigError(str(error), path=place) from None
    described = {
        tensor: Described(Role(said.role), said.dtype or "", said.shape)
        for tensor, said in config.tensors.items()
    }
    try:
        return assemble(
            name, einsums, rank_sizes(config, phase), described=described,
            dtypes=role_dtypes(dtypes), outputs=config.outputs,
            partitions={rank: tuple(parts) for rank, parts in config.partitions.items()},
        )  # fmt: skip
    except GraphError as error:
        raise ConfigError(str(error), path="einsums") from None


def _written_out(step: StepConfig, found: Statement) -> Iterator[Statement]:
    """Yield a statement, or those of the softmax or norm that it names."""
    function, made = found.function, found.made
    if function == "append":  # what is made is written where older tokens stand already
        yield parse(f"{made.tensor}.append[{', '.join(found.operands[0].ranks)}]"
                    f" = copy({found.operands[0]})")  # fmt: skip
        return
    if function != "softmax" and function not in NORMS:
        yield found
        return
    source, *weights = found.operands
    over = step.over or source.ranks[-1]
    if over not in source.ranks or set(source.ranks) != set(made.ranks) or source.affine:
        raise GraphError(f"`{made}` must have the ranks of `{source}`, `{over}` included")
    texts = (
        softmax_statements(str(source), str(made), made.tensor, source.ranks, over)
        if function == "softmax"
        else norm_statements(
            function, str(source), str(made), made.tensor, source.ranks, over,
            [str(weight) for weight in weights],
        )
    )  # fmt: skip
    for text in texts:
        yield parse(text)
