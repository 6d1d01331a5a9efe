"""Writes recordings by hand, so that what follows the recorder is tested without torch."""

from __future__ import annotations

import math
from typing import Any

from accelsim.workload.importers._torch_recording import (
    Call,
    Frame,
    Part,
    Recording,
    Ref,
    Value,
    View,
)


class Tape:
    """A pass in the making."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.calls: list[Call] = []
        self.frames = [Frame("", "Net", layers=True)]
        self.lists: set[str] = set()
        self.at = 0

    def value(self, origin: str, name: str, *shape: int, dtype: str = "bf16") -> View:
        self.values.append(Value(shape, dtype, origin, name))
        return View(len(self.values) - 1, shape, dtype, math.prod(shape))

    def parameter(self, name: str, *shape: int) -> View:
        return self.value("parameter", name, *shape)

    def input(self, name: str, *shape: int, dtype: str = "bf16") -> View:
        return self.value("input", name, *shape, dtype=dtype)

    def module(self, path: str, name: str = "Layer", **fields: Any) -> None:
        """What follows is issued by this module."""
        fields.setdefault("layers", True)
        self.frames.append(Frame(path, name, 0, **fields))
        self.at = len(self.frames) - 1

    def call(
        self, op: str, inputs: list[View], /, *shape: int, dtype: str = "bf16", **arguments: Any
    ) -> View:
        out = self.value("call", "", *shape, dtype=dtype)
        self.calls.append(Call(f"aten.{op}", tuple(inputs), (out,), arguments, self.at))
        return out

    def linear(self, name: str, x: View, n: int) -> View:
        k = x.shape[-1]
        weight = self.parameter(f"{name}.weight", n, k)
        issuer = self.at
        self.module(name, "Linear")
        refs = {"input": Ref(0), "weight": Ref(1)}
        out = self.call("linear", [x, weight], *x.shape[:-1], n, **refs)
        self.at = issuer
        return out

    def recording(self, *results: View) -> Recording:
        parameters = {v.name: v.elements for v in self.values if v.origin == "parameter"}
        return Recording(
            tuple(self.values), tuple(self.calls), tuple(self.frames), results, parameters,
            frozenset(self.lists),
        )  # fmt: skip


def columns(view: View, start: int, width: int) -> View:
    """Return a slice of the last dimension of a whole value."""
    shape = (*view.shape[:-1], width)
    part = Part(view.shape[-1], start, width)
    return View(view.value, shape, view.dtype, math.prod(shape), part)
