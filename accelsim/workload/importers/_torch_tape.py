"""What the recorder writes on while a module runs: values by number, calls and open frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_recording import Call, Frame, Value, View, part_of

__all__ = ["LOOP_LIMIT", "Tape"]

LOOP_LIMIT: Final = 5000
"""Operations of one module call, without its children's, above which it is taken for a loop over
tokens written in Python."""

_DTYPES: Final = {
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16",
    "int64": "int64", "int32": "int32", "int16": "int16", "int8": "int8", "uint8": "uint8",
    "bool": "bool", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8",
}  # fmt: skip


def _dtype(tensor: Any) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise GraphError(f"number format {name} of a tensor has no counterpart in accelsim")
    return _DTYPES[name]


class Tape:
    """Numbers values and frames while a module runs."""

    def __init__(self, module: Any, inputs: Mapping[str, Any]) -> None:
        self.values: list[Value] = []
        self.calls: list[Call] = []
        self.frames: list[Frame] = [Frame("", type(module).__name__)]
        self.stack = [0]
        self.own: dict[int, int] = {}  # calls of a module frame, its children's left out
        self.paused = False
        self._held: list[Any] = []  # a storage that lives keeps its address for itself
        self._current: dict[int, int] = {}
        self.parameters: dict[str, int] = {}
        for name, tensor in module.named_parameters():
            self.parameters[name] = tensor.numel()
            self._add(tensor, "parameter", name)
        for name, tensor in module.named_buffers():
            self._add(tensor, "buffer", name)
        for name, tensor in inputs.items():
            self._add(tensor, "input", name)

    def _add(self, tensor: Any, origin: str, name: str = "") -> int:
        storage = tensor.untyped_storage()
        found = self._current.get(storage._cdata)
        if found is not None and origin != "call":
            return found
        self._held.append(tensor)
        elements = storage.nbytes() // tensor.element_size()
        shape = tuple(tensor.shape) if tensor.numel() == elements else (elements,)
        self.values.append(Value(shape, _dtype(tensor), origin, name))
        self._current[storage._cdata] = len(self.values) - 1
        return len(self.values) - 1

    def view(self, tensor: Any, origin: str = "constant") -> View:
        """Return how a call sees a tensor; one not seen before is of `origin`."""
        number = self._current.get(tensor.untyped_storage()._cdata)
        if number is None:
            number = self._add(tensor, origin)
        elements, part = part_of(
            tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()),
            self.values[number].elements,
        )  # fmt: skip
        return View(number, tuple(tensor.shape), _dtype(tensor), elements, part)

    def enter(self, frame: Frame) -> int:
        """Open a frame and return its number."""
        self.frames.append(frame)
        self.stack.append(len(self.frames) - 1)
        return self.stack[-1]

    def leave(self) -> None:
        """Close the innermost frame."""
        self.stack.pop()

    def module_frame(self) -> int:
        """Return the innermost frame that is a module."""
        return next(n for n in reversed(self.stack) if not self.frames[n].function)

    def call(
        self, op: str, tensors: list[Any], arguments: dict[str, Any], made: list[Any],
        written: list[Any],
    ) -> None:  # fmt: skip
        """Add a call; results that only view an input are none."""
        if self.paused:
            return
        inputs = tuple(self.view(tensor) for tensor in tensors)
        given = {tensor.untyped_storage()._cdata for tensor in tensors}
        new = [t for t in made if t.untyped_storage()._cdata not in given]
        if not new and not written:
            return
        for tensor in (*new, *written):
            self._add(tensor, "call")
        outputs = tuple(self.view(tensor) for tensor in (*new, *written))
        self.calls.append(Call(op, inputs, outputs, arguments, self.stack[-1], bool(written)))
        owner = self.module_frame()
        self.own[owner] = self.own.get(owner, 0) + 1
        if self.own[owner] > LOOP_LIMIT:
            frame = self.frames[owner]
            raise GraphError(
                f"module `{frame.path}` ({frame.name}) issues more than {LOOP_LIMIT} operations"
                " in one call: a loop over tokens written in Python; shorten the sequence, or"
                " give its function a cost with `map`"
            )
