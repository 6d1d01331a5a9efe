"""The graph between a recording and a workload: nodes of canonical kinds over numbered values.

It knows which values are constants, which only restate another one, and which are weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from accelsim.workload.importers._torch_aten import CONSTANT, COPIES, ELEMENTWISE, FREE, base_name
from accelsim.workload.importers._torch_recording import Call, Recording, Ref, Value, View

__all__ = ["Context", "Node"]

_POSITIONS: Final = re.compile(
    r"(^|[._])(position_ids|cache_position|positions?|(img|txt)_ids)($|[._])"
)
_CACHE: Final = re.compile(r"(^|[._])(past|kv|k|v|key|value)\w*(cache|past)|past_key|kv_cache")


@dataclass(slots=True)
class Node:
    """One operator to be.

    Attributes
    ----------
    kind : str
        Operator kind.
    path : str
        Module that issued it.
    suffix : str
        What it does there; empty where the module does nothing else.
    dims, attributes, label
        As in `Operator`.
    reads : list of View
        Operands in the order that the kind wants.
    writes : list of View
        Results.
    """

    kind: str
    path: str
    suffix: str
    reads: list[View]
    writes: list[View]
    dims: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def function(self) -> str:
        """The attribute of that name."""
        return str(self.attributes.get("function", ""))


class Context:
    """What is known of the values of a recording.

    Parameters
    ----------
    recording : Recording
        The pass.
    copies : bool
        Whether copies that change only layout or format stay operators of their own.
    """

    def __init__(self, recording: Recording, copies: bool = False) -> None:
        self.recording = recording
        self.copies = copies
        self.values: list[Value] = list(recording.values)
        self.alias: dict[int, View] = {}
        self.constant: set[int] = {
            n for n, value in enumerate(self.values)
            if value.origin in ("buffer", "constant")
            or (value.origin == "input" and _POSITIONS.search(value.name))
        }  # fmt: skip
        self.cached: set[int] = {
            n for n, value in enumerate(self.values)
            if value.origin in ("input", "buffer") and _CACHE.search(value.name)
        }  # fmt: skip
        self.constant -= self.cached
        self._made: dict[tuple[Any, ...], tuple[View, ...]] = {}
        self.waves: dict[tuple[Any, ...], View] = {}
        self.folded_copies = 0
        self.folded_bytes = 0

    def resolve(self, view: View) -> View:
        """Return the view of the value that the view's value restates."""
        while view.value in self.alias:
            root = self.alias[view.value]
            whole = view.elements == self.values[view.value].elements
            view = View(
                root.value, view.shape, root.dtype,
                min(view.elements, root.elements), root.part if whole else root.part or view.part,
            )  # fmt: skip
        return view

    def is_weight(self, view: View) -> bool:
        """Return whether a view is one of a parameter."""
        return self.values[self.resolve(view).value].origin == "parameter"

    def is_constant(self, view: View) -> bool:
        """Return whether no input and no parameter decides a view."""
        return self.resolve(view).value in self.constant

    def dynamic(self, views: Iterable[View]) -> list[View]:
        """Return the views, resolved, that are neither constant nor empty."""
        found = [self.resolve(view) for view in views if view.size]
        return [view for view in found if view.value not in self.constant]

    def new(self, shape: tuple[int, ...], dtype: str) -> View:
        """Return the whole of a value that no call of the recording made."""
        self.values.append(Value(shape, dtype))
        view = View(len(self.values) - 1, shape, dtype, self.values[-1].elements)
        return view

    def retype(self, number: int, **changes: Any) -> None:
        """Change shape, number format or origin of a value."""
        self.values[number] = replace(self.values[number], **changes)

    def restate(self, target: View, source: View) -> None:
        """Note that `target` has the elements of `source`."""
        source = self.resolve(source)
        if source.value != target.value:
            self.alias[target.value] = source

    def absorb(self, call: Call) -> bool:
        """Return whether a call leaves no operator: a constant, or one value under a new name."""
        name = base_name(call.op)
        moving = self.dynamic(call.inputs)
        if name in CONSTANT or (not moving and name != "accelsim"):
            self._constants(call)
            return True
        source = call.inputs[0]
        if name in FREE:
            self._same(call, source)
            return True
        if name in COPIES and not call.overwrites:
            return self._copy(call, source)
        if (
            name == "copy"
            and call.outputs[0].elements == self.values[call.outputs[0].value].elements
        ):
            return self._copy(call, call.inputs[1])
        if name in ELEMENTWISE and len(moving) == 1 and len(call.outputs) == 1:
            weight = self.is_weight(moving[0]) and moving[0].elements == call.outputs[0].elements
            if weight or _identity(name, call.arguments):
                self._same(call, moving[0])
                return True
        return False

    def _constants(self, call: Call) -> None:
        """Note the results as constants, equal ones of several calls as one."""
        key = None
        if not call.overwrites and "rand" not in call.op and "empty" not in call.op:
            sources = tuple(
                (view.value, view.part, view.shape) for view in map(self.resolve, call.inputs)
            )
            numbers = tuple((n, repr(v)) for n, v in sorted(call.arguments.items()))
            key = (call.op, sources, numbers, tuple((v.shape, v.dtype) for v in call.outputs))
        first = self._made.setdefault(key, call.outputs) if key else call.outputs
        for view, twin in zip(call.outputs, first, strict=True):
            if view.value == twin.value:
                self.constant.add(view.value)
            else:
                self.restate(view, twin)

    def _same(self, call: Call, source: View) -> None:
        for view in call.outputs:
            self.restate(view, source)

    def _copy(self, call: Call, source: View) -> bool:
        if self.copies and not self.is_weight(source):
            return False
        out = call.outputs[0]
        self.folded_copies += 1
        self.folded_bytes += out.size * _BYTES.get(out.dtype, 1)
        self._same(call, source)
        return True


_BYTES: Final[Mapping[str, int]] = {
    "fp64": 8, "int64": 8, "fp32": 4, "int32": 4, "fp16": 2, "bf16": 2, "int16": 2,
}  # fmt: skip


def _identity(name: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether an operation with a number leaves its input as it is."""
    other = arguments.get("other")
    if isinstance(other, (bool, Ref)) or not isinstance(other, (int, float)):
        return False
    return (name in ("mul", "div") and other == 1) or (name in ("add", "sub") and other == 0)
