"""What every operator kind must do, whichever file brings it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelsim.errors import GraphError, UnknownNameError
from accelsim.workload import Counts, Role, ops
from accelsim.workload.counts import counts


@pytest.fixture(params=ops.kinds())
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_example_is_legal(kind: str) -> None:
    """A kind's example is of that kind, has its dims, and passes its shape rule."""
    operator, tensors = ops.rules(kind).example()
    assert operator.kind == kind
    ops.check(operator, tensors)
    used = {*operator.inputs, *operator.outputs}
    assert used == set(tensors)
    assert all(name == tensor.name for name, tensor in tensors.items())


def test_every_dim_is_needed(kind: str) -> None:
    """An operator without one of the kind's dims is refused by the name of the dim."""
    operator, tensors = ops.rules(kind).example()
    for name in ops.rules(kind).DIMS:
        dims = {dim: size for dim, size in operator.dims.items() if dim != name}
        with pytest.raises(GraphError, match=f"dims {name} are missing"):
            ops.check(replace(operator, dims=dims, shard=None), tensors)


def test_a_dim_below_one_or_unknown_is_refused(kind: str) -> None:
    """Dims are sizes of at least 1, and known."""
    operator, tensors = ops.rules(kind).example()
    first = ops.rules(kind).DIMS[0]
    with pytest.raises(GraphError, match=f"dim {first} is 0"):
        ops.check(replace(operator, dims={**operator.dims, first: 0}), tensors)
    with pytest.raises(GraphError, match="unknown dim `fathoms`"):
        ops.check(replace(operator, dims={**operator.dims, "fathoms": 1}), tensors)


def test_counts_are_whole_and_never_negative(kind: str) -> None:
    """Every count is an integer of at least 0, and something is read and written."""
    found = counts(*ops.rules(kind).example())
    values = [getattr(found, field) for field in Counts.__dataclass_fields__]
    assert all(type(value) is int and value >= 0 for value in values)
    assert found.masked_macs <= found.macs
    assert found.read_bytes > 0
    assert found.write_bytes > 0


def test_traffic_is_bounded_by_the_tensors(kind: str) -> None:
    """Compulsory traffic: no more is written than the outputs hold, by role."""
    operator, tensors = ops.rules(kind).example()
    room = dict.fromkeys(Role, 0)
    states = [name for name in operator.inputs if tensors[name].role is Role.STATE]
    for name in (*operator.outputs, *states):  # a state is updated in place
        room[tensors[name].role] += tensors[name].size_bytes
    found = counts(operator, tensors)
    assert found.activation_write_bytes <= room[Role.ACTIVATION]
    assert found.kv_write_bytes <= room[Role.KV_CACHE]
    assert found.state_write_bytes <= room[Role.STATE]


def test_reduced_dims_are_dims(kind: str) -> None:
    """The dims that leave partial sums when divided are among the kind's."""
    rules = ops.rules(kind)
    assert {*rules.DIMS, *rules.OPTIONAL_DIMS} >= rules.REDUCED
    assert not set(rules.DIMS) & set(rules.OPTIONAL_DIMS)


def test_an_expansion_does_the_same_work(kind: str) -> None:
    """Where a kind can run as simpler operators, they do its MACs and make its outputs."""
    expand = ops.expand(kind)
    if expand is None:
        return
    operator, tensors = ops.rules(kind).example()
    parts, between = expand(operator, tensors)
    known = {**tensors, **between}
    for part in parts:
        ops.check(part, known)
    total = sum((counts(part, known) for part in parts), Counts())
    whole = counts(operator, tensors)
    assert (total.macs, total.masked_macs) == (whole.macs, whole.masked_macs)
    assert {n for p in parts for n in p.outputs} == {*between, *operator.outputs}


def test_an_unknown_kind_names_the_nearest() -> None:
    """A kind without a file is refused with the nearest one."""
    with pytest.raises(UnknownNameError, match="did you mean `attention`"):
        ops.rules("atention")
