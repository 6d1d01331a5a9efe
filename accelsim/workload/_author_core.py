"""Values, names, repetition and building: what all operators of the Python builder stand on.

A value that is only looked at in another way (reshaped, transposed, sliced, broadcast) is not
moved; it is, by a real transfer, where a reader could not take it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload._author_build import kv_bytes, named_apart, state_bytes
from accelsim.workload._author_value import Value, broadcast
from accelsim.workload._segments import Assembled, Segment, assemble, local_names
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.frozen import EMPTY
from accelsim.workload.graph import Operator, Workload, weight_elements
from accelsim.workload.importers._fold import fold_segments
from accelsim.workload.legality import validate
from accelsim.workload.phase import Phase, forward
from accelsim.workload.tensor import Role, Sparsity, Tensor, packed_bytes

__all__ = ["Core"]

_DTYPES: Final = Dtypes()


class Core:
    """Collects operators and tensors; `accelsim.workload.author.Graph` adds the operators.

    Parameters
    ----------
    name : str
        Name of the workload.
    phase : Phase
        What the pass does: its batch and its tokens.
    dtypes : Dtypes
        Number formats of inputs, weights and caches that state none.
    """

    def __init__(self, name: str, phase: Phase | None = None, dtypes: Dtypes = _DTYPES) -> None:
        self.name, self.dtypes = name, dtypes
        self.phase = phase or forward(1)
        self._tensors: dict[str, Tensor] = {}
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._segments: list[Segment] = []
        self._open: list[Operator] = []
        self._tensor_names: dict[str, int] = {}
        self._operator_names: dict[str, int] = {}
        self._scope = ""
        self._copies: dict[Value, Value] = {}
        self.result_dtype = ""
        self._idle: dict[str, int] = {}  # weight -> its elements that a token does not use

    # ------------------------------------------------------------ values

    def input(self, name: str, shape: Sequence[int], dtype: str = "") -> Value:
        """Return a tensor that the host gives."""
        value = self.tensor(name, shape, dtype or self.dtypes.activation, Role.ACTIVATION)
        self._inputs.append(value.tensor)
        return value

    def weight(
        self, name: str, shape: Sequence[int], dtype: str = "", sparsity: Sparsity | None = None
    ) -> Value:
        """Return a weight, to be used by several operators; most make their own."""
        return self.tensor(name, shape, dtype or self.dtypes.weight, Role.WEIGHT, sparsity)

    def kv_cache(self, name: str, shape: Sequence[int], dtype: str = "") -> Value:
        """Return a KV cache of shape (sequences, heads, tokens, width of a head)."""
        if len(shape) != 4:
            raise self.error("kv_cache", name, f"shape {list(shape)} has not 4 dimensions")
        return self.tensor(name, shape, dtype or self.dtypes.kv_cache, Role.KV_CACHE)

    def state(self, name: str, shape: Sequence[int], dtype: str = "") -> Value:
        """Return a recurrent state, which stays in memory from pass to pass."""
        return self.tensor(name, shape, dtype or self.dtypes.state, Role.STATE)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        role: Role,
        sparsity: Sparsity | None = None,
    ) -> Value:
        """Return a new tensor of any role; the name is the scope's, made unique."""
        name = self._unique(self._scope + name, self._tensor_names)
        made = Tensor(name, tuple(shape), dtype, role, sparsity)
        self._tensors[name] = made
        return Value(name, made.shape, dtype, role, made.elements)

    def made(self, name: str, shape: Sequence[int], dtype: str) -> Value:
        """Return a new activation: what an operator makes; of `result_dtype` where that is set."""
        return self.tensor(name, shape, self.result_dtype or dtype, Role.ACTIVATION)

    def vector(self, name: str, size: int) -> Value:
        """Return a new weight of one dimension (a norm's, a bias), in the activations' format."""
        return self.weight(name, (size,), self.dtypes.activation)

    def held(self, x: Value) -> int:
        """Return how many elements the tensor holds of which a value shows some or all."""
        return self._tensors[x.tensor].elements

    def output(self, *values: Value) -> None:
        """Declare what goes to the host."""
        self._outputs += [self.whole(value).tensor for value in values]

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Return the same elements in another shape, one dimension of which may be -1."""
        sizes, known = list(shape), math.prod(n for n in shape if n != -1)
        if sizes.count(-1) == 1 and known and x.elements % known == 0:
            sizes[sizes.index(-1)] = x.elements // known
        if math.prod(sizes) != x.elements or -1 in sizes:
            raise GraphError(f"{self.name}: {x} cannot be read in the shape {list(shape)}")
        return replace(x, shape=tuple(sizes))

    def transpose(self, x: Value, *order: int) -> Value:
        """Return the value with its dimensions in another order; reversed if none is given.

        No data is moved: readers take their operand in any layout.
        """
        order = order or tuple(reversed(range(len(x.shape))))
        if sorted(n % len(x.shape) for n in order) != list(range(len(x.shape))):
            raise GraphError(f"{self.name}: {order} is no order of the dimensions of {x}")
        return replace(x, shape=tuple(x.shape[n] for n in order))

    def split(self, x: Value, sizes: Sequence[int] | int, axis: int = -1) -> tuple[Value, ...]:
        """Return parts of a value along one dimension: of these sizes, or so many equal ones."""
        length = x.shape[axis]
        if isinstance(sizes, int):
            sizes = [length // sizes] * sizes if sizes > 0 else []
        if sum(sizes) != length or min(sizes, default=0) < 1:
            raise GraphError(f"{self.name}: dimension {axis} of {x} is not split into {sizes}")
        return tuple(self.part(x, size, axis) for size in sizes)

    def part(self, x: Value, size: int, axis: int = -1) -> Value:
        """Return `size` entries of a value along one dimension, wherever they lie."""
        length = x.shape[axis]
        if not 1 <= size <= length:
            raise GraphError(f"{self.name}: dimension {axis} of {x} has no {size} entries")
        axis %= len(x.shape)
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        return replace(x, shape=shape, distinct=max(1, x.distinct * size // length))

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        """Return the value broadcast to a shape; no element is copied."""
        try:
            wide = broadcast(x.shape, tuple(shape))
        except ValueError:
            wide = ()
        if wide != tuple(shape):
            raise GraphError(f"{self.name}: {x} is not broadcast to {list(shape)}")
        return replace(x, shape=wide)

    def whole(self, x: Value) -> Value:
        """Return the value as a tensor of its own: a slice or a broadcast is copied, once."""
        if x.distinct == self.held(x) == x.elements:
            return x
        if x not in self._copies and x.role is Role.WEIGHT:  # cut before the model runs
            self._copies[x] = self.weight(f"{x.tensor}.part", x.shape, x.dtype)
        if x not in self._copies:
            name = self.called("copy")
            y = self.tensor(name, x.shape, x.dtype, x.role)
            size = {"size_bytes": packed_bytes(x.elements, x.dtype)}
            self.operator(name, "transfer", size, (x,), (y,), label="copy")
            self._copies[x] = y
        return self._copies[x]

    # ------------------------------------------------------------ operators

    def operator(
        self,
        name: str,
        kind: str,
        dims: Mapping[str, int],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        *,
        label: str = "",
        shard: str | None = None,
        attributes: Mapping[str, Any] = EMPTY,
    ) -> None:
        """Add an operator of any kind; see `accelsim.workload.Operator` for the parameters.

        The name is one that `called` gave.
        """
        self._open.append(
            Operator(
                self._scope + name,
                kind,
                dims,
                tuple(x.tensor for x in inputs),
                tuple(y.tensor for y in outputs),
                label,
                shard,
                attributes,
            )
        )

    @property
    def added(self) -> int:
        """Operators added so far, repeated ones once."""
        return len(self._open) + sum(len(segment.operators) for segment in self._segments)

    def error(self, what: str, name: str, message: str) -> GraphError:
        """Return the error to raise about an operator."""
        return GraphError(f"{self.name}: {what} `{self._scope}{name or what}`: {message}")

    def called(self, name: str) -> str:
        """Return a name for an operator of the scope: the given one, numbered if it is taken."""
        return self._unique(self._scope + name, self._operator_names)[len(self._scope) :]

    def _unique(self, name: str, taken: dict[str, int]) -> str:
        count = taken.get(name, 0)
        taken[name] = count + 1
        return self._unique(f"{name}_{count}", taken) if count else name

    # ------------------------------------------------------------ structure

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put ``name.`` before the names of all that is added inside."""
        outer = self._scope
        self._scope = f"{outer}{name}."
        try:
            yield
        finally:
            self._scope = outer

    def repeat(
        self, count: int, body: Callable[..., Any], *streams: Value, name: str = "layers"
    ) -> Any:
        """Return what comes out of `count` repetitions of `body`, which is called once.

        Parameters
        ----------
        count : int
            Repetitions, each with weights of its own.
        body : callable
            Takes the streams and returns as many values of the same shapes, which the next
            repetition takes.  What else it reads is the same for all repetitions.
        *streams : Value
            What the first repetition takes.
        name : str
            Name of the block.

        Raises
        ------
        GraphError
            If the body returns other shapes than it takes, or stands in another body.
        """
        if count < 1 or not streams:
            raise self.error("repeat", name, f"{count} repetitions of {len(streams)} streams")
        given = tuple(self.whole(x) for x in streams)
        self._close()
        before = len(self._segments)
        with self.scope(name):
            made = body(*given)
            results = tuple(self.whole(y) for y in (made if isinstance(made, tuple) else (made,)))
        if len(self._segments) != before:
            raise self.error("repeat", name, "a body cannot hold another one; write the outer out")
        self._check_streams(name, given, results)
        outs = tuple(self._handed_on(y, name) for y in results)
        streams_of = {x.tensor: y.tensor for x, y in zip(given, results, strict=True)}
        named = {z.tensor: y.tensor for z, y in zip(outs, results, strict=True)}
        self._segments.append(Segment(name, tuple(self._open), count, streams_of, named))
        self._open, self._copies = [], {}
        return outs if isinstance(made, tuple) else outs[0]

    def _check_streams(
        self, name: str, given: tuple[Value, ...], results: tuple[Value, ...]
    ) -> None:
        if [y.shape for y in results] != [x.shape for x in given]:
            raise self.error(
                "repeat", name,
                f"the body takes {', '.join(map(str, given))} and returns"
                f" {', '.join(map(str, results))}; the next repetition takes what one returns",
            )  # fmt: skip
        if len({x.tensor for x in given}) < len(given):
            raise self.error("repeat", name, "two streams begin with one tensor; copy one of them")
        made = {tensor for operator in self._open for tensor in operator.outputs}
        for y in results:
            if y.tensor not in made:
                raise self.error("repeat", name, f"the body returns {y}, which it does not make")

    def _handed_on(self, value: Value, name: str) -> Value:
        """Return a name by which what follows knows the last repetition's result."""
        return self.tensor(f"{name}.result", value.shape, value.dtype, value.role)

    def _close(self) -> None:
        """End the stretch of operators that stand outside of a repetition."""
        if self._open:
            self._segments.append(Segment("", tuple(self._open)))
        self._open, self._copies = [], {}

    # ------------------------------------------------------------ building

    def leave_out_unread(self) -> list[str]:
        """Leave out operators whose results serve nothing, and return their names.

        For importers: an author who forgets an output should hear of it.
        """
        self._close()
        wanted = set(self._outputs).union(*(s.read() | set(s.streams) for s in self._segments))
        gone: list[str] = []
        for i in reversed(range(len(self._segments))):
            segment, kept = self._segments[i], list[Operator]()
            if segment.count > 1:
                continue
            for operator in reversed(segment.operators):
                made = operator.outputs
                kept_on = any(self._tensors[name].role is not Role.ACTIVATION for name in made)
                if kept_on or wanted & set(made):
                    kept.append(operator)
                    wanted |= set(operator.inputs)
                else:
                    gone.append(operator.name)
            self._segments[i] = replace(segment, operators=tuple(reversed(kept)))
        self._segments = [segment for segment in self._segments if segment.operators]
        return gone[::-1]

    def build(self, *, fold: bool = True) -> Workload:
        """Return the workload.

        Parameters
        ----------
        fold : bool
            Find layers that repeat in what was written out, and write each once.

        Raises
        ------
        GraphError
            If a value is made and neither read nor declared as an output.
        """
        self._close()
        if not self._segments:
            raise GraphError(f"{self.name}: has no operator")
        assembled = self._assembled(fold)
        unfinished = Workload(
            name=self.name,
            blocks=assembled.blocks,
            parameters=0,
            active_parameters=0,
            kv_bytes_per_token=kv_bytes(assembled.blocks),
            phase=str(self.phase),
            batch=self.phase.batch,
            tokens=self.phase.tokens,
            state_bytes_per_sequence=state_bytes(assembled.blocks) // self.phase.batch,
            inputs=assembled.inputs,
            outputs=assembled.outputs,
        )
        held = weight_elements(unfinished)
        idle = sum(
            segment.count * self._idle.get(name, 0)
            for segment in self._segments
            for name in segment.read()
        )
        return validate(replace(unfinished, parameters=held, active_parameters=held - idle))

    def _assembled(self, fold: bool) -> Assembled:
        segments: list[Segment] = []
        for segment in self._segments:
            if fold and segment.count == 1:
                seen = {
                    n for other in self._segments if other is not segment for n in other.read()
                }
                seen |= {name for other in self._segments for name in other.streams}
                kept = (*self._outputs, *seen)
                found = fold_segments(segment.operators, self._tensors, kept)
                segments += [one if one.count > 1 else replace(one, name="") for one in found]
            else:
                segments.append(segment)
        named, held = local_names(
            named_apart(segments), self._tensors, (*self._inputs, *self._outputs)
        )
        return assemble(named, held, self._inputs, self._outputs)
