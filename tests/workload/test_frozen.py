"""A frozen map is a dict that cannot change."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from accelsim.workload.frozen import FrozenMap


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.__setitem__("a", 2),
        lambda m: m.__delitem__("a"),
        lambda m: m.update(b=1),
        lambda m: m.pop("a"),
        lambda m: m.clear(),
        lambda m: m.setdefault("b", 1),
        lambda m: m.popitem(),
        lambda m: m.__ior__({"b": 1}),
    ],
)
def test_no_method_changes_it(change: Callable[[Any], Any]) -> None:
    """Every method that would change a dict is refused and leaves the map as it was."""
    frozen = FrozenMap(a=1)
    with pytest.raises(TypeError, match="cannot change"):
        change(frozen)
    assert frozen == {"a": 1}


def test_equal_maps_have_equal_hashes_whatever_their_order() -> None:
    """Hash and equality ignore the order of the keys, as a dict's equality does."""
    assert hash(FrozenMap(a=1, b=2)) == hash(FrozenMap(b=2, a=1))
    assert len({FrozenMap(a=1), FrozenMap(a=1), FrozenMap(a=2)}) == 2


def test_pickle_restores_it() -> None:
    """Worker processes get the same map, still frozen."""
    back = pickle.loads(pickle.dumps(FrozenMap(a=1)))
    assert back == {"a": 1}
    assert type(back) is FrozenMap
