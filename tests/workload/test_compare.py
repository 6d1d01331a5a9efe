"""The difference between two workloads names what was added, removed and changed."""

from __future__ import annotations

from dataclasses import replace

from accelsim.workload import Dtypes, decode, load_model, totals, workload
from accelsim.workload.compare import diff
from accelsim.workload.graph import Workload


def llama(past: int = 127) -> Workload:
    return workload("llama3-8b", decode(4, past))


def test_a_workload_does_not_differ_from_itself() -> None:
    """No change at all, which is false and says so."""
    found = diff(llama(), llama())
    assert not found
    assert str(found) == "llama3-8b decode 4x1 past 127: no difference"


def test_a_longer_context_changes_attention_alone() -> None:
    """Of all operators, only attention and what it reads grow with the past."""
    found = diff(llama(127), llama(255))
    assert set(found.changed) == {("layers", "kv_append"), ("layers", "attention")}
    assert not found.added
    assert not found.removed
    assert "~ attention: kv_len 128 -> 256 (+100 %)" in str(found)


def test_totals_differ_by_what_the_counts_say() -> None:
    """The changes of the totals are those of `totals`."""
    before, after = llama(127), llama(255)
    changes = {change.place: change for change in diff(before, after).totals}
    assert changes["macs"].before == totals(before).macs
    assert changes["macs"].after == totals(after).macs
    assert "weight_read_bytes" not in changes
    assert (
        changes["resident kv_cache bytes"].after == 2 * changes["resident kv_cache bytes"].before
    )


def test_number_formats_differ_by_tensor() -> None:
    """A weight in another format is a change of every operator that reads it."""
    found = diff(llama(), workload("llama3-8b", decode(4, 127), dtypes=Dtypes(weight="int4_g128")))
    change = found.changed["layers", "o_proj"][0]
    assert str(change) == "input o_proj.weight dtype bf16 -> int4_g128"
    assert ("layers", "attention") not in found.changed


def test_other_operators_are_added_and_removed() -> None:
    """A mixture of experts has a router where a dense model has none."""
    found = diff(llama(), workload("mixtral-8x7b", decode(4, 127)))
    assert ("layers", "router") in {(block, op.name) for block, op in found.added}
    assert ("layers", "gate_up_proj") in {(block, op.name) for block, op in found.removed}
    lines = str(found).splitlines()
    assert any(line.startswith("  + router: matmul m 4, n 8") for line in lines)
    blocks = [line for line in lines if line.startswith("block ")]
    assert blocks == ["block embedding", "block layers", "block head"]


def test_a_repetition_more_is_a_change_of_its_block() -> None:
    """The count of a block is compared, and parameters follow."""
    model = load_model("llama3-8b", {"parameters.num_hidden_layers": 33})
    found = diff(llama(), workload(model, decode(4, 127)))
    assert [str(change) for change in found.blocks["layers"]] == ["count 32 -> 33 (+3.12 %)"]
    assert not found.changed


def test_attributes_and_conventions_are_compared() -> None:
    """What is no size is a difference, too."""
    before = llama()
    block = before.blocks[1]
    operators = tuple(
        replace(op, attributes={**op.attributes, "window": 64}) if op.kind == "attention" else op
        for op in block.operators
    )
    after = replace(
        before,
        blocks=(before.blocks[0], replace(block, operators=operators), before.blocks[2]),
        conventions={**before.conventions, "attention": "another"},
    )
    found = diff(before, after)
    assert [c.place for c in found.changed["layers", "attention"]] == ["window"]
    assert [c.place for c in found.workload] == ["conventions.attention"]


def test_blocks_that_change_places_are_named() -> None:
    """The same blocks in another order are no equal workloads."""
    before = llama()
    after = replace(before, blocks=before.blocks[::-1])
    assert [c.place for c in diff(before, after).workload] == ["blocks"]
