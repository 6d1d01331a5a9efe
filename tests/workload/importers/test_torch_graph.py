"""What becomes of a recording: canonical kinds, fused neighbours, folded layers; without torch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.workload import flop_split, totals
from accelsim.workload.graph import Workload
from accelsim.workload.importers._torch_recording import Part, Ref, View, part_of
from accelsim.workload.importers.torch import compare, from_recording
from tests.workload.importers.tape import Tape, columns


def kinds(workload: Workload) -> list[str]:
    return [operator.kind for _, operator in workload.operators()]


def functions(workload: Workload) -> list[object]:
    return [operator.attributes.get("function") for _, operator in workload.operators()]


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.data(),
)
def test_a_strided_view_has_the_elements_it_touches(shape: list[int], data: st.DataObject) -> None:
    """Slicing every dimension of an array touches the product of the slices' lengths."""
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    sizes = [data.draw(st.integers(1, n - s)) for n, s in zip(shape, starts, strict=True)]
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    whole, touched = 1, 1
    for size, part in zip(shape, sizes, strict=True):
        whole, touched = whole * size, touched * part
    offset = sum(a * b for a, b in zip(starts, strides, strict=True))
    elements, part = part_of(offset, tuple(sizes), tuple(strides), whole)
    assert elements == touched
    assert (part is None) == (touched == whole)


def test_a_broadcast_view_has_the_elements_of_its_source() -> None:
    """A stride of 0 repeats elements and touches no further ones."""
    assert part_of(0, (4, 8, 6), (6, 0, 1), 24) == (24, None)


def test_permuted_heads_of_a_fused_projection_are_one_part() -> None:
    """The keys of a (tokens, 3 x heads x width) projection are one slice, however permuted."""
    assert part_of(8, (2, 5, 4), (4, 24, 1), 120) == (40, Part(24, 8, 8))


def layers(tied: bool = False) -> Tape:
    tape = Tape()
    tape.lists.add("layers")
    x = tape.input("x", 4, 8)
    for i in range(6):
        name = "layers.0" if tied else f"layers.{i}"
        up = (
            tape.linear(f"{name}.up", x, 16) if not tied or not i
            else tape.call("linear", [x, View(1, (16, 8), "bf16", 128)], 4, 16,
                           input=Ref(0), weight=Ref(1))
        )  # fmt: skip
        tape.module(f"layers.{i}.act", "SiLU", layers=False)
        act = tape.call("silu", [up], 4, 16, self=Ref(0))
        down = tape.linear(f"layers.{i}.down", act, 8)
        tape.module(f"layers.{i}")
        x = tape.call("add", [x, down], 4, 8, self=Ref(0), other=Ref(1))
    tape.result = x  # type: ignore[attr-defined]
    return tape


def test_equal_layers_are_one_block_with_a_count() -> None:
    """Six layers of the same work, each with its own weights, are written once."""
    tape = layers()
    workload = from_recording(tape.recording(tape.result))  # type: ignore[attr-defined]
    assert [(block.count, len(block.operators)) for block in workload.blocks] == [(6, 4)]
    assert workload.parameters == 6 * 2 * 8 * 16
    assert totals(workload).macs == 6 * 2 * 4 * 8 * 16


def test_a_weight_that_all_layers_use_is_held_once() -> None:
    """A tied weight stays one shared tensor and counts once."""
    tape = layers(tied=True)
    workload = from_recording(tape.recording(tape.result))  # type: ignore[attr-defined]
    assert workload.parameters == 8 * 16 + 6 * 8 * 16
    assert [(block.count, block.shared) for block in workload.blocks] == [(6, {"up.weight"})]


def test_an_unknown_operation_names_itself_its_module_and_the_cure() -> None:
    """No operation is dropped silently."""
    tape = Tape()
    y = tape.linear("fc", tape.input("x", 4, 8), 8)
    tape.module("odd", "Odd")
    out = tape.call("frobnicate", [y], 4, 8)
    with pytest.raises(GraphError, match=r"`odd` \(Odd\).*aten.frobnicate.*map=.*ignore="):
        from_recording(tape.recording(out))


def test_a_mapped_operation_costs_what_the_user_says() -> None:
    """`map` gives an unknown operation the cost of a known function."""
    tape = Tape()
    y = tape.linear("fc", tape.input("x", 4, 8), 8)
    out = tape.call("frobnicate", [y], 4, 8)
    workload = from_recording(tape.recording(out), map={"aten.frobnicate": "silu"})
    assert functions(workload)[-1] == "silu"


def test_an_ignored_operation_passes_its_input_on() -> None:
    """`ignore` makes an operation free, by the user's word only."""
    tape = Tape()
    y = tape.linear("fc", tape.input("x", 4, 8), 8)
    out = tape.call("frobnicate", [y], 4, 8)
    workload = from_recording(tape.recording(out), ignore=["aten.frobnicate"])
    assert kinds(workload) == ["matmul"]


def test_a_map_to_nonsense_lists_what_is_legal() -> None:
    """A typo in `map` is an error that names the legal targets."""
    tape = Tape()
    out = tape.call("frobnicate", [tape.linear("fc", tape.input("x", 4, 8), 8)], 4, 8)
    with pytest.raises(GraphError, match=r"legal: .*transfer"):
        from_recording(tape.recording(out), map={"aten.frobnicate": "sillu"})


def test_multiplying_by_one_is_nothing_and_by_a_tensor_is_something() -> None:
    """A factor of 1 vanishes; the second tensor of a call is no factor of 1."""
    tape = Tape()
    x = tape.linear("fc", tape.input("x", 4, 8), 8)
    same = tape.call("div", [x], 4, 8, self=Ref(0), other=1.0)
    out = tape.call("mul", [same, tape.input("y", 4, 8)], 4, 8, self=Ref(0), other=Ref(1))
    assert functions(from_recording(tape.recording(out))) == [None, "mul"]


def test_a_gated_activation_is_one_operator() -> None:
    """silu(a) * b of the halves of one projection reads both as parts of one input."""
    tape = Tape()
    h = tape.linear("fc", tape.input("x", 4, 8), 12)
    act = tape.call("silu", [columns(h, 0, 6)], 4, 6, self=Ref(0))
    out = tape.call("mul", [act, columns(h, 6, 6)], 4, 6, self=Ref(0), other=Ref(1))
    workload = from_recording(tape.recording(out))
    operator = list(workload.operators())[-1][1]
    assert operator.attributes["function"] == "silu_mul"
    assert operator.inputs == ("fc",)
    assert operator.dims["operands"] == 2


def test_modulation_and_gated_residual_are_one_operator_each() -> None:
    """Diffusion transformers write x (1 + scale) + shift, and x + gate y."""
    tape = Tape()
    x, c = tape.input("x", 2, 16, 8), tape.input("c", 2, 8)
    mod = tape.linear("mod", c, 24)

    def chunk(i: int) -> View:
        part = columns(mod, 8 * i, 8)
        return View(part.value, (2, 1, 8), part.dtype, 16, part.part)

    one = tape.call("add", [chunk(0)], 2, 1, 8, self=Ref(0), other=1)
    scaled = tape.call("mul", [x, one], 2, 16, 8, self=Ref(0), other=Ref(1))
    y = tape.call("add", [scaled, chunk(1)], 2, 16, 8, self=Ref(0), other=Ref(1))
    y = tape.linear("fc", y, 8)
    gated = tape.call("mul", [chunk(2), y], 2, 16, 8, self=Ref(0), other=Ref(1))
    out = tape.call("add", [x, gated], 2, 16, 8, self=Ref(0), other=Ref(1))
    assert functions(from_recording(tape.recording(out))) == [None, "modulate", None, "gated_add"]


def test_a_handwritten_norm_is_one_operator() -> None:
    """Eight operations of an RMS norm module are one norm, with its weight."""
    tape = Tape()
    x, weight = tape.input("x", 4, 8), tape.parameter("norm.weight", 8)
    tape.module("norm", "MyRMSNorm", layers=False)
    wide = tape.call("to", [x], 4, 8, dtype="fp32", self=Ref(0))
    square = tape.call("pow", [wide], 4, 8, dtype="fp32", self=Ref(0), exponent=2)
    mean = tape.call("mean", [square], 4, 1, dtype="fp32", self=Ref(0))
    root = tape.call("rsqrt", [mean], 4, 1, dtype="fp32", self=Ref(0))
    scaled = tape.call("mul", [wide, root], 4, 8, dtype="fp32", self=Ref(0), other=Ref(1))
    out = tape.call("mul", [weight, scaled], 4, 8, self=Ref(0), other=Ref(1))
    workload = from_recording(tape.recording(out))
    (operator,) = [operator for _, operator in workload.operators()]
    assert (operator.kind, operator.attributes["function"]) == ("norm", "rmsnorm")
    assert operator.inputs == ("x", "norm.weight")


def test_a_norm_by_name_that_holds_a_linear_layer_does_not_swallow_it() -> None:
    """AdaLayerNorm has "Norm" in its name and a projection inside."""
    tape = Tape()
    x, c = tape.input("x", 4, 8), tape.input("c", 1, 8)
    scale = tape.linear("norm.linear", c, 8)
    tape.module("norm", "AdaLayerNorm")
    normed = tape.call("layer_norm", [x], 4, 8, input=Ref(0), normalized_shape=(8,))
    out = tape.call("mul", [normed, scale], 4, 8, self=Ref(0), other=Ref(1))
    assert kinds(from_recording(tape.recording(out))) == ["matmul", "norm", "elementwise"]


def test_a_written_out_attention_is_one_operator() -> None:
    """Product, scaling, softmax, product of one module are one attention."""
    tape = Tape()
    x = tape.input("x", 2, 6, 16)
    q, k, v = (tape.linear(f"attn.{name}", x, 16) for name in "qkv")
    tape.module("attn", "Attention")

    def heads(view: View, *shape: int) -> View:
        return View(view.value, shape, view.dtype, view.elements)

    keys = heads(k, 2, 4, 4, 6)
    scores = tape.call("matmul", [heads(q, 2, 4, 6, 4), keys], 2, 4, 6, 6)
    scaled = tape.call("mul", [scores], 2, 4, 6, 6, self=Ref(0), other=0.5)
    weights = tape.call("softmax", [scaled], 2, 4, 6, 6, self=Ref(0), dim=-1)
    out = tape.call("matmul", [weights, heads(v, 2, 4, 6, 4)], 2, 4, 6, 4)
    workload = from_recording(tape.recording(out))
    operator = list(workload.operators())[-1][1]
    assert kinds(workload) == ["matmul"] * 3 + ["attention"]
    assert dict(operator.dims) == {
        "batch": 2, "heads": 4, "kv_heads": 4, "q_len": 6, "kv_len": 6, "head_dim": 4,
        "value_dim": 4,
    }  # fmt: skip
    assert flop_split(workload)["attention"] == 2 * 2 * 4 * 6 * 6 * 8


def test_keys_repeated_to_all_heads_count_once_per_head_of_their_own() -> None:
    """An expanded copy of two KV heads to eight query heads leaves two heads of traffic."""
    tape = Tape()
    x = tape.input("x", 1, 6, 32)
    q, k, v = tape.linear("q", x, 32), tape.linear("k", x, 8), tape.linear("v", x, 8)
    repeated = []
    for view in (k, v):
        spread = View(view.value, (1, 2, 4, 6, 4), "bf16", 48)
        repeated.append(tape.call("reshape", [spread], 1, 8, 6, 4, self=Ref(0)))
    query = View(q.value, (1, 8, 6, 4), "bf16", 192)
    refs = {name: Ref(i) for i, name in enumerate(("query", "key", "value"))}
    out = tape.call(
        "scaled_dot_product_attention", [query, *repeated], 1, 8, 6, 4, is_causal=True, **refs
    )
    operator = list(from_recording(tape.recording(out)).operators())[-1][1]
    assert operator.dims["kv_heads"] == 2
    assert operator.attributes["causal"] is True


def test_the_slice_of_a_projection_is_read_in_place() -> None:
    """A linear layer of some columns reads a part; nothing is copied."""
    tape = Tape()
    h = tape.linear("wide", tape.input("x", 4, 8), 12)
    out = tape.linear("narrow", columns(h, 4, 8), 5)
    workload = from_recording(tape.recording(out))
    assert kinds(workload) == ["matmul", "matmul"]
    assert list(workload.operators())[-1][1].attributes["part"] is True


def test_one_token_of_each_sequence_is_gathered() -> None:
    """A head that sees only the first token reads selected rows, which costs their bytes."""
    tape = Tape()
    h = tape.linear("body", tape.input("x", 2, 6, 8), 8)
    first = View(h.value, (2, 8), "bf16", 16, Part(48, 0, 8))
    out = tape.linear("head", first, 5)
    workload = from_recording(tape.recording(out))
    assert kinds(workload) == ["matmul", "gather", "matmul"]
    assert totals(workload).macs == 12 * 64 + 2 * 8 * 5


def test_what_only_constants_decide_is_a_constant() -> None:
    """Position tables and masks made of ranges are inputs of the pass, not work."""
    tape = Tape()
    positions = tape.call("arange", [], 8, dtype="int64")
    wave = tape.call("cos", [positions], 8, dtype="fp32", self=Ref(0))
    x = tape.linear("fc", tape.input("x", 4, 8), 8)
    out = tape.call("mul", [x, wave], 4, 8, self=Ref(0), other=Ref(1))
    workload = from_recording(tape.recording(out))
    assert kinds(workload) == ["matmul", "elementwise"]
    assert len(workload.inputs) == 2


def test_equal_activations_of_one_tensor_are_computed_once() -> None:
    """silu(temb), which every block of a UNet repeats, is one operator."""
    tape = Tape()
    t = tape.linear("time", tape.input("t", 1, 8), 8)
    x = tape.input("x", 4, 8)
    for name in "ab":
        act = tape.call("silu", [t], 1, 8, self=Ref(0))
        y = tape.linear(name, act, 8)
        x = tape.call("add", [x, y], 4, 8, self=Ref(0), other=Ref(1))
    assert functions(from_recording(tape.recording(x))).count("silu") == 1


def test_copies_are_operators_where_they_are_asked_for() -> None:
    """A change of layout is part of a neighbour, or a transfer of its bytes."""
    tape = Tape()
    x = tape.linear("a", tape.input("x", 4, 8), 8)
    same = tape.call("contiguous", [x], 4, 8, self=Ref(0))
    out = tape.linear("b", same, 8)
    recording = tape.recording(out)
    folded = from_recording(recording)
    assert kinds(folded) == ["matmul", "matmul"]
    assert "1 copies" in folded.conventions["copies"]
    assert kinds(from_recording(recording, copies=True)) == ["matmul", "transfer", "matmul"]


def test_new_keys_are_appended_to_a_cache_that_is_an_input() -> None:
    """Concatenating a past with one token moves that token's bytes into the KV cache."""
    tape = Tape()
    past = tape.input("past_key", 1, 2, 7, 4)
    k = tape.linear("k", tape.input("x", 1, 1, 8), 8)
    new = View(k.value, (1, 2, 1, 4), "bf16", 8)
    key = tape.call("cat", [past, new], 1, 2, 8, 4)
    q = tape.linear("q", tape.input("y", 1, 1, 8), 8)
    refs = {name: Ref(i) for i, name in enumerate(("query", "key", "value"))}
    query = View(q.value, (1, 2, 1, 4), "bf16", 8)
    out = tape.call("scaled_dot_product_attention", [query, key, key], 1, 2, 1, 4, **refs)
    workload = from_recording(tape.recording(out))
    counted = totals(workload)
    assert counted.kv_write_bytes == 16
    assert counted.kv_read_bytes == 2 * 128
    assert workload.kv_bytes_per_token == 16


def test_parameters_that_nothing_reads_are_reported() -> None:
    """Parameters of the module that its pass leaves alone are idle, and named."""
    tape = Tape()
    out = tape.linear("fc", tape.input("x", 4, 8), 8)
    tape.parameter("spare.weight", 3, 3)
    workload = from_recording(tape.recording(out))
    assert (workload.parameters, workload.idle_parameters) == (73, 9)
    assert workload.conventions["unread parameters"] == "9 elements: spare.weight"


def test_sorting_outside_a_router_is_an_error() -> None:
    """No operator kind sorts; only the routing of experts may."""
    tape = Tape()
    x = tape.linear("fc", tape.input("x", 4, 8), 8)
    out = tape.call("sort", [x], 4, 8)
    with pytest.raises(GraphError, match=r"aten.sort.*routing"):
        from_recording(tape.recording(out))


def test_a_pass_that_computes_nothing_is_an_error() -> None:
    """A module that gives its input back has no graph."""
    tape = Tape()
    x = tape.input("x", 4)
    with pytest.raises(GraphError, match="computes nothing"):
        from_recording(tape.recording(x))


def separate(names: str) -> Workload:
    """Return products of one input by several weights, and their sum by a last one."""
    tape = Tape()
    x = tape.input("x", 4, 8)
    width = 24 // len(names)
    made = [tape.linear(name, x, width) for name in names]
    total = tape.call("cat", made, 4, 24) if len(made) > 1 else made[0]
    return from_recording(tape.recording(tape.linear("o", total, 8)))


def test_products_of_the_same_rows_compare_as_one() -> None:
    """Query, key and value apart, or as one product, are the same graph but for the copy."""
    found = compare(separate("q"), separate("qkv")).differences()
    assert set(found) == {"operators.transfer"}


def test_a_lost_product_shows_in_the_comparison() -> None:
    """A missing layer differs in FLOPs, weight bytes, operators and columns."""
    tape = Tape()
    short = from_recording(tape.recording(tape.linear("o", tape.input("x", 4, 24), 8)))
    found = compare(separate("q"), short).differences()
    assert {"weight_bytes", "flops.linear", "operators.matmul", "columns.(4, 8)"} <= set(found)
