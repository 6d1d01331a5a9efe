"""Places an operator that is given by its sizes alone, outside any model, by a mapping's rules.

It has no phase, label or name, and is never divided: a rule that needs one of these is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.arch import ArchitectureSpec
from accelsim.cost import Work
from accelsim.cost._spatial_problem import problem_of
from accelsim.cost.spatial import SpatialArray
from accelsim.errors import ConfigError, MappingError
from accelsim.mapping.policy import MappingSpec, Rule
from accelsim.workload.ops import rules

__all__ = ["arrays_for", "rule_for"]

_ATTENTION: Final = ("heads", "kv_heads", "q_len", "kv_len", "head_dim", "value_dim")


def rule_for(work: Work, mapping: MappingSpec) -> tuple[Rule, str]:
    """Return the first rule that holds for a lone operator, and how messages call it.

    Parameters
    ----------
    work : Work
        Of kind matmul or conv; what the second operand has counts as weights read.
    mapping : MappingSpec
        Its `place`.

    Raises
    ------
    MappingError
        If a rule that must be decided asks for what only an operator of a model has, or none
        holds; names the rule.
    """
    for number, rule in enumerate(mapping.place, 1):
        when = f"`when: {rule.when}`" if rule.when else "no condition"
        called = f"rule {number} of `place` in mapping `{mapping.name}` ({when})"
        if rule.condition is None or rule.condition.evaluate(_reading(work, called)):
            return rule, called
    raise MappingError(
        f"mapping `{mapping.name}`: no rule of `place` holds for a lone {work.kind}"
    )


def arrays_for(
    work: Work, architecture: ArchitectureSpec, rule: Rule, called: str
) -> tuple[str, ...]:
    """Return the spatial arrays that a rule allows for a lone operator and that can run it.

    Parameters
    ----------
    work, architecture
        What runs where.
    rule, called
        From `rule_for`.

    Raises
    ------
    ConfigError
        If all of them refuse the operator; says why the last does.
    MappingError
        If the rule allows no array, or divides the operator over several units.
    """
    units = architecture.device.units
    allowed = [
        name
        for name, unit in units.items()
        if rule.on == "fastest" or name in rule.on or getattr(unit, "kind", "") in rule.on
    ]
    arrays = [name for name in allowed if isinstance(units[name], SpatialArray)]
    if not arrays:
        raise MappingError(
            f"{called} places a lone {work.kind} on {', '.join(rule.on)}: of the units of"
            f" `{architecture.name}` that allows none of kind spatial, which alone run loop nests"
        )
    able = [name for name in allowed if not units[name].refusal(work)]
    if not set(able) & set(arrays):
        raise ConfigError(units[arrays[-1]].refusal(work))
    if rule.coprocess and len(able) > 1:
        raise MappingError(
            f"{called} divides a lone {work.kind} over {', '.join(able)} (`coprocess`), so that it"
            " has no one loop nest; map each part by its own sizes"
        )
    return tuple(name for name in arrays if name in able)


def _reading(work: Work, called: str) -> Callable[[str], Any]:
    """Return what gives the names in a rule's condition their values."""
    known = _dims(work)
    silent = {"phase", "label", "name"} | (set(rules(work.kind).DIMS) - known.keys())
    if work.kind == "conv" and work.conv is None:
        silent |= set(rules(work.kind).OPTIONAL_DIMS)

    def read(name: str) -> Any:
        if name in silent:
            raise MappingError(
                f"{called} asks for `{name}`, which a lone {work.kind} does not have; map a model,"
                " or take a mapping whose rules ask for other things"
            )
        if name in ("kind", "function"):
            return getattr(work, name)
        if name == "intensity":
            return _intensity(work)
        return getattr(work, name) if name in _ATTENTION else known.get(name, 0)

    return read


def _dims(work: Work) -> Mapping[str, int]:
    """Return the dims of the operator that follow from its sizes: not a padded input's."""
    shape = work.conv
    if work.kind == "matmul":
        return {"batch": work.batch, "m": work.m, "n": work.n, "k": work.k}
    if shape is None:
        return {}
    return {
        "batch": shape.batch, "groups": shape.groups,
        "in_channels": shape.channels[0], "out_channels": shape.channels[1],
        "out_height": shape.out[0], "out_width": shape.out[1],
        "kernel_height": shape.kernel[0], "kernel_width": shape.kernel[1],
    }  # fmt: skip


def _intensity(work: Work) -> float:
    """Return operations per byte of the second operand, read once."""
    problem = problem_of(work, None)
    weight = problem.tensors[1]
    return 2 * problem.macs / (problem.words(1) * weight.bits / 8.0)
