"""What differs between two workloads: operators added, removed and changed, and the totals.

Operators are compared by block and name, tensors by the place that they take in an operator, so
that two builds of one model compare whatever their tensors are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from accelsim.workload.counts import totals
from accelsim.workload.graph import Block, Operator, Workload, resident_bytes
from accelsim.workload.table import dims_text
from accelsim.workload.tensor import Tensor

__all__ = ["Change", "Difference", "diff"]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs.

    Attributes
    ----------
    place : str
        What differs: a field of the workload or of a block, a dim or an attribute of an
        operator, ``input x dtype``, ``resident weight bytes``, ...
    before, after : object
        Its values; None where it is absent.
    """

    place: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.place} {_shown(self.before)} -> {_shown(self.after)}" + _growth(
            self.before, self.after
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """What turns one workload into another.

    Attributes
    ----------
    names : tuple of str
        Name and phase of both workloads.
    order : tuple of str
        Names of the blocks of both, in order of execution.
    workload : tuple of Change
        Fields of the workload itself: parameters, phase, conventions, ...
    blocks : mapping of str to tuple of Change
        Fields of a block: its count, its carried streams, what it shares.
    added, removed : tuple of (str, Operator)
        Block and operator.
    changed : mapping of (str, str) to tuple of Change
        Block and name of an operator -> what differs in it.
    totals : tuple of Change
        Work, traffic and resident bytes that differ.
    """

    names: tuple[str, str]
    order: tuple[str, ...]
    workload: tuple[Change, ...]
    blocks: Mapping[str, tuple[Change, ...]]
    added: tuple[tuple[str, Operator], ...]
    removed: tuple[tuple[str, Operator], ...]
    changed: Mapping[tuple[str, str], tuple[Change, ...]]
    totals: tuple[Change, ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        parts = (self.workload, self.blocks, self.added, self.removed, self.changed, self.totals)
        return any(map(bool, parts))

    def __str__(self) -> str:
        """Return the difference as text: ``-`` removed, ``+`` added, ``~`` changed."""
        if not self:
            return f"{self.names[0]}: no difference"
        return "\n".join([f"{self.names[0]} -> {self.names[1]}", *_lines(self)])


def diff(before: Workload, after: Workload) -> Difference:
    """Return what differs between two workloads; false where nothing does.

    Parameters
    ----------
    before, after : Workload
        Two models, two phases of one, a graph before and after a transform, ...

    Examples
    --------
    >>> from accelsim.workload import decode, workload
    >>> found = diff(workload("llama3-8b", decode(1, 9)), workload("llama3-8b", decode(1, 19)))
    >>> [str(change) for change in found.changed["layers", "attention"]][0]
    'kv_len 10 -> 20 (+100 %)'
    """
    olds, news = _operators(before), _operators(after)
    both = [key for key in olds if key in news]
    changed = {key: tuple(_operator(*olds[key], *news[key])) for key in both}
    return Difference(
        names=(_title(before), _title(after)),
        order=tuple(dict.fromkeys(b.name for b in (*before.blocks, *after.blocks))),
        workload=tuple(_workload(before, after)),
        blocks=dict(_blocks(before, after)),
        added=tuple((key[0], found[1]) for key, found in news.items() if key not in olds),
        removed=tuple((key[0], found[1]) for key, found in olds.items() if key not in news),
        changed={key: changes for key, changes in changed.items() if changes},
        totals=tuple(_totals(before, after)),
    )


def _operators(workload: Workload) -> dict[tuple[str, str], tuple[Block, Operator]]:
    return {(block.name, op.name): (block, op) for block, op in workload.operators()}


def _title(workload: Workload) -> str:
    return f"{workload.name} {workload.phase}".strip()


def _mappings(place: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in (*before, *(name for name in after if name not in before)):
        yield from _values(f"{place}{name}", before.get(name), after.get(name))


def _values(place: str, before: Any, after: Any) -> Iterator[Change]:
    if before != after:
        yield Change(place, before, after)


_FIELDS: Final = tuple(
    f.name for f in fields(Workload) if f.name not in ("blocks", "conventions")
)  # fmt: skip


def _workload(before: Workload, after: Workload) -> Iterator[Change]:
    for name in _FIELDS:
        yield from _values(name, getattr(before, name), getattr(after, name))
    blocks = [tuple(block.name for block in one.blocks) for one in (before, after)]
    yield from _values("blocks", *blocks)
    yield from _mappings("conventions.", before.conventions, after.conventions)


def _blocks(before: Workload, after: Workload) -> Iterator[tuple[str, tuple[Change, ...]]]:
    olds, news = ({b.name: b for b in one.blocks} for one in (before, after))
    for name in (n for n in olds if n in news):
        old, new = olds[name], news[name]
        changes = [
            *_values("count", old.count, new.count),
            *_mappings("carry.", old.carry, new.carry),
            *_values("shared", tuple(sorted(old.shared)), tuple(sorted(new.shared))),
        ]
        if changes:
            yield name, tuple(changes)


def _operator(block: Block, old: Operator, other: Block, new: Operator) -> Iterator[Change]:
    for name in ("kind", "label", "shard"):
        yield from _values(name, getattr(old, name), getattr(new, name))
    yield from _mappings("", old.dims, new.dims)
    yield from _mappings("", old.attributes, new.attributes)
    for side in ("inputs", "outputs"):
        mine, others = getattr(old, side), getattr(new, side)
        for i in range(max(len(mine), len(others))):
            one = block.tensors[mine[i]] if i < len(mine) else None
            two = other.tensors[others[i]] if i < len(others) else None
            yield from _tensor(f"{side[:-1]} {(one or two).name}", one, two)  # type: ignore[union-attr]


def _tensor(place: str, old: Tensor | None, new: Tensor | None) -> Iterator[Change]:
    if old is None or new is None:
        yield Change(place, _array(old), _array(new))
        return
    for name in ("dtype", "shape", "role", "sparsity"):
        yield from _values(f"{place} {name}", getattr(old, name), getattr(new, name))


def _array(tensor: Tensor | None) -> str | None:
    return None if tensor is None else f"{tensor.dtype}{list(tensor.shape)}"


def _totals(before: Workload, after: Workload) -> Iterator[Change]:
    old, new = totals(before), totals(after)
    for field in fields(old):
        yield from _values(field.name, getattr(old, field.name), getattr(new, field.name))
    held, holds = resident_bytes(before), resident_bytes(after)
    for role, size in held.items():
        yield from _values(f"resident {role.value} bytes", size, holds[role])


# ---------------------------------------------------------------- text


def _lines(found: Difference) -> Iterator[str]:
    if found.workload:
        yield from ("workload", *(f"  ~ {change}" for change in found.workload))
    places = {name for name, _ in (*found.removed, *found.added, *found.changed)}
    for block in (name for name in found.order if name in places or name in found.blocks):
        yield f"block {block}"
        yield from (f"  ~ {change}" for change in found.blocks.get(block, ()))
        for sign, operators in (("-", found.removed), ("+", found.added)):
            for name, operator in operators:
                if name == block:
                    yield f"  {sign} {operator.name}: {operator.kind} {dims_text(operator)}"
        for (name, operator_name), changes in found.changed.items():
            if name == block:
                said = "; ".join(map(str, _telling(changes)))
                yield f"  ~ {operator_name}: {said}"
    if found.totals:
        yield from ("totals", *(f"  ~ {change}" for change in found.totals))


def _telling(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes without those of shapes, which follow from the dims, unless alone."""
    return tuple(c for c in changes if not c.place.endswith(" shape")) or changes


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value) or "none"


def _growth(before: Any, after: Any) -> str:
    """Return the change of a number in percent or as a factor, empty for what is none."""
    for value in (before, after):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ""
    if not before:
        return ""
    if after >= 10 * before > 0:
        return f" (x {after / before:.4g})"
    return f" ({100 * (after - before) / before:+.3g} %)"
