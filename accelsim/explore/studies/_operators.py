"""The operators of a study: a product, a convolution, or all that an array runs of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec
from accelsim.cost import ConvShape, Work
from accelsim.explore.studies import ModelName

if TYPE_CHECKING:
    from accelsim.workload import Operator, Phase, Workload

__all__ = ["Asked", "ConvSpec", "OperatorSpec", "asked_of", "pass_of"]

_RUN = ("matmul", "conv")  # kinds that are loop nests


class ConvSpec(Spec):
    """A convolution of images; rows before columns."""

    out: tuple[Count, Count]
    """Rows and columns of the output."""
    kernel: tuple[Count, Count]
    """Rows and columns of the kernel."""
    channels: tuple[Count, Count]
    """Channels read and made, of one group."""
    stride: tuple[Count, Count] = (1, 1)
    """Positions from one output to the next."""
    dilation: tuple[Count, Count] = (1, 1)
    """Positions from one weight to the next."""
    batch: Count = 1
    """Images."""
    groups: Count = 1
    """Groups of channels that see nothing of each other."""


class OperatorSpec(Spec):
    """One operator by its sizes, or the products and convolutions of a model's pass."""

    product: tuple[Count, Count, Count] | None = None
    """Rows, columns and sum of a matrix product: m, n, k."""
    conv: ConvSpec | None = None
    """A convolution."""
    model: ModelName | None = None
    """A model of the library, of which one pass is meant."""
    batch: Count = 1
    """Products alike, or sequences or images of the model's pass."""
    phase: Literal["forward", "prefill", "decode"] = "forward"
    """Kind of the model's pass."""
    seq_len: Count = 1
    """Tokens of each sequence of the model's pass; tokens before it where it decodes."""
    without: tuple[str, ...] = ()
    """Kinds of the model's operators that are left out, since loop nests are none of them."""

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [name for name in ("product", "conv", "model") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "operator",
                "exactly one of `product`, `conv` and `model` is needed, found {found}",
                {"found": ", ".join(given) or "none"},
            )
        return self


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator that runs a number of times.

    Attributes
    ----------
    name : str
    work : Work
    times : int
    image : (rows, columns) or None
        Of a convolution's input without padding, where known.
    """

    name: str
    work: Work
    times: int = 1
    image: tuple[int, int] | None = None


def asked_of(operator: OperatorSpec, dtype: str) -> list[Asked]:
    """Return what an operator, or each operator of a model, asks of an array.

    Parameters
    ----------
    operator : OperatorSpec
    dtype : str
        Format of operands and results.

    Raises
    ------
    ConfigError
        If the model or the format is unknown.
    MappingError
        If the model has operators that are neither run nor left out.
    """
    from accelsim.workload.tensor import dtype_bits

    if operator.model is not None:
        return _of_model(operator.model, operator, dtype)
    bits = int(dtype_bits(dtype))
    width = {"dtype": dtype, "bits_a": bits, "bits_b": bits, "bits_c": bits}
    if operator.product is not None:
        m, n, k = operator.product
        work = Work("matmul", batch=operator.batch, m=m, n=n, k=k, **width)  # type: ignore[arg-type]
    else:
        shape = ConvShape(**dict(operator.conv or ()))
        work = Work("conv", conv=shape, **width)  # type: ignore[arg-type]
    return [Asked(work.kind, work)]


def _of_model(model: str, operator: OperatorSpec, dtype: str) -> list[Asked]:
    """Return the operators of one pass, each composite one as its parts."""
    from accelsim.errors import MappingError
    from accelsim.mapping.work import work_of
    from accelsim.workload.counts import counts
    from accelsim.workload.ops import expand

    found: list[Asked] = []
    for block, whole in pass_of(model, operator, dtype).operators():
        expansion = expand(whole.kind)
        parts: tuple[Operator, ...] = (whole,)
        tensors = block.tensors
        if expansion is not None:
            parts, between = expansion(whole, block.tensors)
            tensors = {**block.tensors, **between}
        for part in parts:
            if part.kind in _RUN:
                work = work_of(part, tensors, counts(part, tensors), whole)
                high, wide = (part.dims.get(f"in_{side}", 0) for side in ("height", "width"))
                image = (high, wide) if high and wide else None
                found.append(Asked(f"{block.name}.{part.name}", work, block.count, image))
            elif part.kind not in operator.without:
                raise MappingError(
                    f"`{model}`: `{part.name}` is no loop nest but {part.kind};"
                    f" leave its kind out by `without: [{part.kind}]`"
                )
    return found


def pass_of(model: str, operator: OperatorSpec, dtype: str) -> Workload:
    """Return a model's pass, with activations, weights and cache in one format."""
    from accelsim.workload import decode, forward, load_model, prefill, workload

    formats = {f"dtypes.{what}": dtype for what in ("activation", "weight", "kv_cache")}
    phases: dict[str, Callable[[int, int], Phase]]
    phases = {"forward": forward, "prefill": prefill, "decode": decode}
    phase = phases[operator.phase](operator.batch, operator.seq_len)
    return workload(load_model(model, formats), phase)
