"""What a mapping policy file may say: where operators run, how they are split and buffered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from accelsim.config import (
    Count,
    Expression,
    ExpressionError,
    Fraction,
    Nonnegative,
    Spec,
    compile_expression,
    load_named,
)
from accelsim.cost import Dataflow, NestPolicy
from accelsim.errors import nearest
from accelsim.mapping._balance import Balance
from accelsim.workload.ops import kinds, rules

__all__ = ["Kept", "MappingSpec", "Partition", "Rule", "load"]

MATCHABLE = frozenset({"kind", "label", "name", "function", "phase", "intensity"})
"""What a rule's condition may read, besides every dim (0 where an operator has none): texts, and
the operations per byte of weights and cache that are read."""


@cache
def _dims() -> frozenset[str]:
    """Return the dims of all operator kinds."""
    return frozenset(
        name for kind in kinds() for name in (*rules(kind).DIMS, *rules(kind).OPTIONAL_DIMS)
    )


class Rule(Spec):
    """One placement rule; the first rule whose condition holds decides."""

    when: str = ""
    """Condition over `kind`, `label`, `function`, `phase`, `intensity` (operations per byte of
    weights and cache read) and dims, for example ``label == 'attention' and q_len == 1`` or
    ``intensity < 8``; always true where empty."""
    on: Literal["fastest"] | list[str] = "fastest"
    """``fastest`` of all units, or a list of unit kinds or names of which the fastest is taken."""
    coprocess: bool = False
    """All of these units work on the operator side by side: its weights, or whole experts, are
    divided between them so that they end together."""
    divide: Literal["columns", "reduction"] = "columns"
    """How: each unit has columns of the weights and makes some of the results; or each has rows,
    for a part of the reduction, and the partial results are added where the next operator runs.
    Adding them is not charged: 1 / k of the product's operations, rows / k of its bytes."""

    nest: NestPolicy | None = None
    """How arrays that run loop nests map these operators; as the policy's `nests` where absent."""

    @field_validator("when")
    @classmethod
    def _compiles(cls, text: str) -> str:
        if text:
            try:
                names = compile_expression(text).names
            except ExpressionError as error:
                raise PydanticCustomError("when", "{problem}", {"problem": str(error)}) from None
            unknown = sorted(names - MATCHABLE - _dims())
            if unknown:
                hint = nearest(unknown[0], MATCHABLE | _dims())
                raise PydanticCustomError(
                    "when", "unknown name `{name}`; {hint}", {"name": unknown[0], "hint": hint}
                )
        return text

    @cached_property
    def condition(self) -> Expression | None:
        """The compiled condition, None where the rule always holds."""
        return compile_expression(self.when) if self.when else None


class Partition(Spec):
    """How the work is split over devices."""

    tensor: Count = 1
    """Tensor-parallel ways: heads and feed-forward columns divided, all-reduce after each pair."""
    pipeline: Count = 1
    """Pipeline stages: layers divided, activations handed over."""
    microbatches: Count = 1
    """Parts that the batch is cut into, so that pipeline stages overlap; or, on one stage, units
    of a device, with `interleave`."""


class Kept(Spec):
    """Where a part of the model rests between its uses, if not in the main memory."""

    within: str
    """Name or kind of a memory that the architecture joins to the main one by a path."""
    share: Annotated[Nonnegative, Field(le=1)] = 1.0
    """Part of its bytes that rests there."""


class MappingSpec(Spec):
    """A mapping policy."""

    name: str
    """Name, equal to the file's."""
    description: str = ""
    """One or two sentences."""
    source: str = ""
    """Paper or system whose policy this is."""
    place: list[Rule]
    """Placement rules, first match first."""
    attention: Literal["auto", "fused", "unfused"] = "auto"
    """Attention as one kernel, as score, softmax and context apart, or fused where a unit can."""
    partition: Partition = Partition()
    """How the work is split over devices."""
    dataflow: Dataflow = "auto"
    """Dataflow of systolic arrays; ``auto`` takes the fastest for each operator."""
    double_buffer_stationary: bool = True
    """The array loads its next stationary operand while the present one computes."""
    tile_buffers: Count = 2
    """Fewest tiles that the on-chip buffer holds per stream: 1 serialises load and compute; with
    2 or more, loads run ahead as far as the buffer has room."""
    prefetch_weights: bool = True
    """Weights of the next operators may load while earlier ones compute."""
    activation_share: Annotated[Fraction, Field(lt=1)] = 0.5
    """Part of the on-chip buffer that may hold activations between operators, what does not fit
    goes through main memory; the rest is for tiles that load ahead."""
    balance: Balance = "even"
    """How sequences of different lengths share out over the channels of a memory that computes:
    each group of equal ones over all channels (``even``), in order (``round_robin``), or the
    longest first, each to the channel with the least load (``greedy``)."""
    interleave: bool = False
    """Micro-batches take turns layer by layer, so that one computes on arrays while another is in
    memory; otherwise the first of them goes before wherever both want a unit."""
    pipeline_heads: bool = False
    """Attention runs head by head beside the projections before and after it; pays where it has a
    unit of its own."""
    capacity: Literal["main", "pooled"] = "main"
    """What weights, cache and activations must fit into: the main memory, or all memories that
    units stream from, together."""
    keep: dict[Literal["weight", "kv_cache"], Kept] = Field(default_factory=dict)
    """What rests in another memory than the main one: a unit of the other gets it over the path,
    ahead of its use where `prefetch_weights` allows, and new keys and values go back over it."""
    nests: NestPolicy = NestPolicy()
    """How arrays that run loop nests choose them, where the rule for an operator does not say."""
    chunks: Count = 8
    """Most tile tasks per operator and stream; longer tile streams are coalesced to this many."""

    @property
    def overlaps_units(self) -> bool:
        """Whether one unit's loads may run while another computes."""
        return self.prefetch_weights or self.interleave or self.pipeline_heads

    def rule_for(self, read: Callable[[str], Any]) -> Rule | None:
        """Return the first rule that holds for an operator, None where none does.

        Parameters
        ----------
        read : callable
            Gives a condition's name its value: a dim, or one of `MATCHABLE`.
        """
        asked = tuple([read(name) for name in self._names])
        if asked not in self._decided:
            held = (r for r in self.place if not r.condition or r.condition.evaluate(read))
            self._decided[asked] = next(held, None)
        return self._decided[asked]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """Everything that conditions ask, so that like operators are decided once."""
        return tuple(sorted({n for r in self.place if r.condition for n in r.condition.names}))

    @cached_property
    def _decided(self) -> dict[tuple[Any, ...], Rule | None]:
        return {}


def load(name: str, overrides: Mapping[str, Any] | None = None) -> MappingSpec:
    """Return a mapping policy by library name or file path.

    Raises
    ------
    ConfigError
        If the file or an override is wrong; says where and what is legal.
    """
    return load_named(name, MappingSpec, "mapping", overrides)
