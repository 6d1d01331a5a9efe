"""A mapping that nothing can change, so that workloads can be shared, hashed and cached.

It is a `dict` underneath: lookups cost what a dict's cost, unlike a wrapper written in Python.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn, TypeVar

__all__ = ["EMPTY", "FrozenMap"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class FrozenMap(dict[Key, Value]):
    """A `dict` that refuses every change and has a hash if its values have one.

    Examples
    --------
    >>> dims = FrozenMap(m=4, n=8)
    >>> dims["n"], hash(dims) == hash(FrozenMap(n=8, m=4))
    (8, True)
    >>> dims["n"] = 9
    Traceback (most recent call last):
    TypeError: a FrozenMap cannot change; make a new one
    """

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a FrozenMap cannot change; make a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type, tuple[dict[Key, Value]]]:
        # The default restores item by item, through the __setitem__ that refuses.
        return type(self), (dict(self),)


EMPTY: Final[FrozenMap[str, Any]] = FrozenMap()
"""The empty map: default of every optional mapping."""
