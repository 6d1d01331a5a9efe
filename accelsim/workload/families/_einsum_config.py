"""Configuration of a workload written as Einsums: sizes of ranks, tensors, statements."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction, Nonnegative, Spec, compile_expression
from accelsim.config.expr import ExpressionError
from accelsim.errors import ConfigError, nearest
from accelsim.workload.dtypes import Dtype
from accelsim.workload.frozen import FrozenMap
from accelsim.workload.phase import Phase

__all__ = ["PHASE_SIZES", "EinsumConfig", "StepConfig", "TensorConfig", "rank_sizes"]

PHASE_SIZES: Final = ("batch", "tokens", "q_len", "kv_len", "past_len", "context_len")
"""What the phase gives, for the sizes of ranks: sequences, new tokens of all and of each,
attended and past tokens of each, tokens of the context."""


Frozen = AfterValidator(FrozenMap)
"""Makes a mapping hashable, so that built workloads can be cached by their configuration."""


def _step(value: Any) -> Any:
    return {"einsum": value} if isinstance(value, str) else value


class TensorConfig(Spec):
    """What the statements do not say of a tensor."""

    role: Literal["activation", "weight", "kv_cache", "state"] = "activation"
    """What it is to the memory system."""
    dtype: Dtype | None = None
    """Number format; that of its role where absent."""
    shape: tuple[Count, ...] | None = None
    """Sizes, where they do not follow from the ranks: an image with its padding."""
    density: Fraction = 1.0
    """Share of elements that are not zero."""
    pattern: str = "unstructured"
    """What a unit must support to skip the zeros: ``2:4``, ..."""
    metadata_bits: Nonnegative = 0.0
    """Bits per element of the dense tensor that say where the others lie."""


class StepConfig(Spec):
    """A statement, or statements that repeat."""

    einsum: str | None = None
    """``O[m, n] = A[m, k] * B[k, n]``, a sum, or a function of tensors."""
    name: str = ""
    """Of the operator; the tensor that it makes where absent."""
    label: str = ""
    """Class of the operator in counts: ``linear``, ``attention``, ``experts``, ..."""
    over: str = ""
    """Rank that a softmax or a norm runs over; the operand's last where absent."""
    repeat: Count | None = None
    """How often `steps` repeat, each time with weights of their own."""
    carry: Annotated[dict[str, str], Frozen] = Field(default_factory=FrozenMap)
    """Tensor that the first repetition reads -> tensor of the steps that the next reads."""
    steps: tuple[
        Annotated[StepConfig, BeforeValidator(_step, json_schema_input_type=str | StepConfig)], ...
    ] = ()
    """What repeats."""

    @model_validator(mode="after")
    def _either(self) -> StepConfig:
        if (self.einsum is None) == (self.repeat is None):
            raise PydanticCustomError("step", "a step has either `einsum` or `repeat`")
        if self.repeat is not None and not (self.carry and self.steps):
            raise PydanticCustomError("step", "`repeat` needs `carry` and `steps`")
        return self


class EinsumConfig(Spec):
    """A workload as Einsums over named ranks."""

    shape: Annotated[dict[str, int | str], Frozen]
    """Rank -> size: a number, or arithmetic over ranks above and over `batch`, `q_len`, ..."""
    tensors: Annotated[dict[str, TensorConfig], Frozen] = Field(default_factory=FrozenMap)
    """Tensors that are more than activations in the usual format."""
    partitions: Annotated[dict[str, tuple[str, ...]], Frozen] = Field(default_factory=FrozenMap)
    """Rank -> the ranks of the statements that it is divided into, the outermost first."""
    einsums: tuple[
        Annotated[StepConfig, BeforeValidator(_step, json_schema_input_type=str | StepConfig)], ...
    ]
    """Statements in order of execution."""
    outputs: tuple[str, ...] = ()
    """Tensors that go to the host; those that nothing reads where absent."""

    @model_validator(mode="after")
    def _stated(self) -> EinsumConfig:
        if not self.einsums:
            raise PydanticCustomError("einsums", "no statements")
        for rank, parts in self.partitions.items():
            if len(parts) < 2 or any(part not in self.shape for part in parts):
                raise PydanticCustomError(
                    "partitions", "`{rank}` is divided into two or more ranks of `shape`",
                    {"rank": rank},
                )  # fmt: skip
        return self


def rank_sizes(config: EinsumConfig, phase: Phase | None) -> dict[str, int]:
    """Return the size of each rank.

    Parameters
    ----------
    config : EinsumConfig
        The workload.
    phase : Phase, optional
        What gives the sizes of the pass; ranks that need one are left out without it.

    Raises
    ------
    ConfigError
        If a size is no whole number of at least 1; names the rank.
    """
    given = {} if phase is None else _given(phase)
    sizes: dict[str, int] = {}
    for rank, size in config.shape.items():
        where = f"shape.{rank}"
        try:
            value = compile_expression(str(size)).evaluate(
                lambda name: _lookup(name, given, sizes)
            )
        except KeyError:
            continue  # a size of the pass, asked for without one
        except ExpressionError as error:
            raise ConfigError(str(error), path=where) from None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise ConfigError(f"`{size}` is no whole number", path=where)
        if value < 1:
            raise ConfigError(f"`{size}` is {value}, below 1", path=where)
        sizes[rank] = int(value)
    return sizes


def _lookup(name: str, given: dict[str, int], sizes: dict[str, int]) -> int:
    """Return the size of a rank that stands above, or one of the pass."""
    if name in sizes:
        return sizes[name]
    if name not in PHASE_SIZES:
        raise ExpressionError(f"no size `{name}`; {nearest(name, (*sizes, *PHASE_SIZES))}")
    return given[name]


def _given(phase: Phase) -> dict[str, int]:
    group = phase.groups[0]
    given = {
        "batch": phase.batch, "tokens": phase.tokens, "q_len": group.q_len,
        "kv_len": group.kv_len, "past_len": group.past_len,
    }  # fmt: skip
    return given | ({"context_len": phase.context_len} if phase.context_len else {})
