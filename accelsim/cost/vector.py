"""Vector units: lanes that work on rows, for everything that is no matrix product.

Cycles per row are counted in steps of all lanes and in reduction trees, as NeuPIMs counts them;
functions without such a count cost one step per operation.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Hertz, Picojoules, Spec, Watts, Whole
from accelsim.cost._component import PICOSECONDS_PER_SECOND, Estimate, Setting, Unit, Work, to_ps
from accelsim.cost._technology import mac_area_mm2, mac_formats, vector_op_energy_pj
from accelsim.cost._tiling import ceil_div
from accelsim.errors import UnknownNameError
from accelsim.jit import kernel

__all__ = [
    "COMPONENT",
    "FUNCTIONS",
    "OPERATIONS",
    "Steps",
    "VectorUnit",
    "rows_cycles",
    "tree_steps",
]


@kernel
def tree_steps(columns: int, lanes: int) -> int:
    """Return the steps that reduce `columns` values to one: ceil(n / lanes), repeated until 1.

    Examples
    --------
    >>> tree_steps(4096, 128), tree_steps(1, 128)
    (33, 0)
    """
    if lanes < 2:
        return columns - 1
    steps, left = 0, columns
    while left > 1:
        left = ceil_div(left, lanes)
        steps += left
    return steps


@kernel
def rows_cycles(
    rows: int, columns: int, lanes: int, units: int, trees: int, passes: int, fixed: int
) -> int:
    """Return the cycles of a function of rows on `units` vector units of `lanes` each.

    Notes
    -----
    A function that reduces (``trees`` or ``fixed`` above 0) takes each row on one unit:
    ceil(rows / units) (trees tree(n) + passes ceil(n / lanes) + fixed).  Any other packs the
    elements of all rows: passes ceil(rows n / (lanes units)).

    References
    ----------
    .. [1] NeuPIMs (ASPLOS 2024), artifact: softmax 2 tree + 3 iter, layernorm 2 tree + 5 iter +
       3, add and gelu iter, with iter = ceil(n / 128) and one cycle per step.
    """
    if trees == 0 and fixed == 0:
        return passes * ceil_div(rows * columns, lanes * units)
    row = trees * tree_steps(columns, lanes) + passes * ceil_div(columns, lanes) + fixed
    return ceil_div(rows, units) * row


class Steps(Spec):
    """What a function of a row of n takes: trees tree(n) + passes ceil(n / lanes) + fixed."""

    trees: Whole = 0
    """Reductions of the row to one value."""
    passes: Whole
    """Steps over the whole row."""
    fixed: Whole = 0
    """Steps per row whatever its length."""


_ONE, _TWO = Steps(passes=1), Steps(passes=2)
FUNCTIONS: Final[dict[str, Steps]] = {
    # NeuPIMs (ASPLOS 2024), artifact, configuration of its vector units.
    "softmax": Steps(trees=2, passes=3),
    "layernorm": Steps(trees=2, passes=5, fixed=3),
    "add": _ONE,
    "mul": _ONE,
    "gelu": _ONE,
    # Composed of the same: one tree and the two passes for the mean less, and its fixed step.
    "rmsnorm": Steps(trees=1, passes=3, fixed=2),
    # The activation unit that computes gelu in a step computes any function of one variable.
    "relu": _ONE, "sigmoid": _ONE, "silu": _ONE, "gelu_tanh": _ONE,
    "relu_mul": _TWO, "sigmoid_mul": _TWO, "silu_mul": _TWO, "gelu_mul": _TWO,
    "gelu_tanh_mul": _TWO,
    "rope": Steps(passes=3),
}  # fmt: skip
"""Function -> steps, with lanes that do one add, multiply or activation per cycle."""

_FORWARD: Final[dict[str, dict[str, float]]] = {
    "softmax": {"max": 1, "add": 2, "exp": 1, "div": 1},
    "layernorm": {"add": 4, "mul": 3},
    "rmsnorm": {"mul": 3, "add": 1},
    "add": {"add": 1},
    "mul": {"mul": 1},
    "relu": {"max": 1},
    "sigmoid": {"add": 2, "exp": 1, "div": 1},
    "silu": {"add": 2, "exp": 1, "div": 1},
    "gelu": {"mul": 3, "exp": 1, "add": 1},
    "gelu_tanh": {"mul": 6, "add": 2, "exp": 1},
    "relu_mul": {"max": 1, "mul": 1},
    "sigmoid_mul": {"add": 2, "exp": 1, "div": 1, "mul": 1},
    "silu_mul": {"add": 2, "exp": 1, "div": 1, "mul": 1},
    "gelu_mul": {"mul": 4, "exp": 1, "add": 1},
    "gelu_tanh_mul": {"mul": 7, "add": 2, "exp": 1},
    "rope": {"mul": 2, "add": 1},
    "quick_gelu": {"mul": 2, "add": 1, "exp": 1, "div": 1},
    "quick_gelu_mul": {"mul": 3, "add": 1, "exp": 1, "div": 1},
    "tanh": {"add": 2, "exp": 1, "div": 1, "mul": 1},
    "exp": {"exp": 1},
    "softplus": {"exp": 2, "add": 1},  # a logarithm costs as much as an exponential
    "relu6": {"max": 2},
    "hard_swish": {"add": 1, "max": 2, "mul": 1},
    "scale": {"mul": 1},
    "modulate": {"mul": 1, "add": 1},
    "gated_add": {"mul": 1, "add": 1},
    "interpolate": {"mul": 5, "add": 3},
    "bicubic": {"mul": 20, "add": 15},
    "threshold": {"max": 1},
    "lif": {"mul": 1, "add": 2, "max": 1},
    "corner_index": {"mul": 3, "add": 3},
    "corner_weight": {"mul": 2, "add": 1},
    "spherical_harmonics": {"mul": 2, "add": 1},
    "groupnorm": {"add": 4, "mul": 3},
    "instancenorm": {"add": 4, "mul": 3},
    "batchnorm": {"mul": 1, "add": 1},
    "l2norm": {"mul": 2, "add": 1},
    "max": {"max": 1},
    "sum": {"add": 1},
    "mean": {"add": 1},
    "where": {"max": 1},
    "copy": {},
    "pow": {"exp": 1},
    "dropout": {"mul": 1, "add": 1, "max": 1},
}

OPERATIONS: Final[dict[str, dict[str, float]]] = {
    **_FORWARD,
    # The function again, its derivative, and the product with the gradient.
    **{
        f"{name}_backward": {**mix, "mul": mix.get("mul", 0) + 2} for name, mix in _FORWARD.items()
    },
    "dropout_backward": {"mul": 1},
    "softmax_backward": {"mul": 2, "add": 2},
    **{
        f"{name}_backward": {"mul": 7, "add": 4}
        for name in ("layernorm", "groupnorm", "instancenorm", "batchnorm")
    },
    "rmsnorm_backward": {"mul": 6, "add": 2},
    "l2norm_backward": {"mul": 4, "add": 2},
    "scatter_add": {"add": 1},
    "accumulate": {"add": 1},
}
"""Function -> operations per element, for their energy; erf and tanh count as an exponential."""

_MOVES: Final = frozenset({"gather", "transfer"})
_REFUSED: Final = {
    "matmul": "a matrix product",
    "conv": "a matrix product",
    "attention": "a pair of matrix products",
    "collective": "communication between devices",
}


def _lane_operations(work: Work) -> int:
    """Return the operations of one lane each; for a movement, the elements moved."""
    operations = work.vector_ops + work.macs
    if operations or work.kind not in _MOVES:
        return operations
    return -(-8 * max(work.input_bytes, work.output_bytes) // work.bits_c)


class VectorUnit(Unit):
    """Equal vector units that share the rows of an operator.

    Notes
    -----
    Memory traffic is compulsory: a row is read once and written once, whatever the passes over
    it.  Movement (gather, transfer) takes one pass.  Energy is that of the arithmetic: register
    files and wiring between lanes are left out, so it is a lower bound.

    Examples
    --------
    >>> unit = VectorUnit(source="NeuPIMs", memory="hbm", lanes=128, units=8, frequency_hz="1 GHz")
    >>> unit.cycles(Work("softmax", m=8, n=1024))
    42
    """

    kind: Literal["vector"] = "vector"
    lanes: Count
    """Elements that one unit works on per cycle."""
    units: Count = 1
    """Vector units that share the rows of one operator."""
    frequency_hz: Hertz
    """Clock of the lanes."""
    format: str = "fp32"
    """Format that the lanes compute in, for energy and area."""
    functions: dict[str, Steps] = Field(default_factory=dict)
    """Function -> steps, over the built-in ones; a name is an operator's function, or its kind."""
    given_op_energy_pj: Picojoules | None = None
    """Published energy of one lane operation; where absent the technology table answers."""
    given_leakage_w: Watts = 0.0
    """Published standing power; logic leakage has no model here."""

    @model_validator(mode="after")
    def _format_is_sourced(self) -> VectorUnit:
        if self.given_op_energy_pj is not None:
            return self
        try:
            vector_op_energy_pj("exp", self.format, 7.0)
        except UnknownNameError as error:
            raise PydanticCustomError(
                "format",
                "no source gives the energy of {name} lanes; {hint}",
                {"name": self.format, "hint": error.hint},
            ) from None
        return self

    @cached_property
    def _steps(self) -> dict[str, Steps]:
        return {**FUNCTIONS, **self.functions}

    @cached_property
    def _energies(self) -> dict[tuple[str, float], float]:
        return {}

    def refusal(self, work: Work) -> str:
        """Return why the unit cannot run `work`; empty where it can."""
        what = _REFUSED.get(work.kind)
        return f"vector units do not run {work.kind}: it is {what}" if what else ""

    def cycles(self, work: Work) -> int:
        """Return the cycles of an operator on all units together."""
        steps = self._steps.get(work.function or work.kind) or self._steps.get(work.kind)
        if steps is not None:
            return rows_cycles(
                work.batch * work.m, work.n, self.lanes, self.units,
                steps.trees, steps.passes, steps.fixed,
            )  # fmt: skip
        return -(-_lane_operations(work) // (self.lanes * self.units))

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return cycles, compulsory traffic and energy of an operator."""
        cycles = self.cycles(work)
        node = self.technology_nm or setting.technology_nm
        operations = work.vector_ops + work.macs
        return Estimate(
            compute_ps=to_ps(cycles / self.frequency_hz),
            weight_traffic_bytes=work.weight_bytes + work.kv_bytes,
            input_traffic_bytes=work.input_bytes,
            output_traffic_bytes=work.output_bytes,
            tiles=max(1, min(work.batch * work.m, cycles)),
            energy_pj={"vector": operations * self.energy_per_op_pj(work, node)},
            ideal_ps=self._ideal_cycles(work) / self.frequency_hz * PICOSECONDS_PER_SECOND,
            choice=work.function or work.kind,
        )

    def _ideal_cycles(self, work: Work) -> float:
        """Return the cycles with every lane busy: passes without trees and partial steps."""
        steps = self._steps.get(work.function or work.kind) or self._steps.get(work.kind)
        elements = work.batch * work.m * work.n
        ideal = steps.passes * elements if steps is not None else _lane_operations(work)
        return ideal / (self.lanes * self.units)

    def energy_per_op_pj(self, work: Work, technology_nm: float) -> float:
        """Return the mean energy of an operator's operations, in pJ.

        A function whose operations are not listed is taken to multiply and add in equal parts.
        """
        if self.given_op_energy_pj is not None:
            return self.given_op_energy_pj
        function = work.function or work.kind
        known = self._energies.get((function, technology_nm))
        if known is None:
            mix = OPERATIONS.get(function) or OPERATIONS.get(work.kind) or {"add": 1, "mul": 1}
            total = sum(
                count * vector_op_energy_pj(op, self.format, technology_nm)
                for op, count in mix.items()
            )
            known = self._energies[function, technology_nm] = total / sum(mix.values())
        return known

    def model_area_mm2(self, technology_nm: float) -> float:
        """Return the area of the lanes, each a multiply-accumulate unit of its format.

        Function tables and register files are left out, and so is a format without a source.
        """
        if self.format not in mac_formats():
            return 0.0
        return self.lanes * self.units * mac_area_mm2(self.format, technology_nm)

    def leakage_w(self, technology_nm: float) -> float:
        """Return the published standing power."""
        return self.given_leakage_w


COMPONENT: Final = VectorUnit
