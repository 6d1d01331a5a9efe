"""The nests of a whole model, and of one product."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelsim import arch, build_workload, forward, load_model, mapping, prefill
from accelsim.arch import ArchitectureSpec
from accelsim.cost import ConvShape, Work
from accelsim.cost.spatial import SpatialArray
from accelsim.errors import ConfigError, MappingError
from accelsim.mapping import MappingSpec
from accelsim.mapping.nests import map_product, map_workload
from accelsim.nest import accounting
from accelsim.workload import totals

INT8 = {"dtypes.weight": "int8", "dtypes.activation": "int8"}


def test_equal_layers_are_searched_once_and_counted_as_often_as_they_run() -> None:
    built = build_workload(load_model("resnet18", INT8), forward(1))
    found = map_workload(built, arch.load("nvdla-large"), mapping.load("nests-nvdla"))
    assert sum(nest.times for nest in found.nests) == 21
    assert len(found.nests) == 12
    assert found.macs == totals(built).macs
    assert {reason.split(", not ")[1] for _, reason in found.others} == {
        "norm", "elementwise", "reduce",
    }  # fmt: skip
    assert all(0 < nest.utilisation <= 1 for nest in found.nests)


def test_least_energy_and_least_time_keep_their_promises() -> None:
    work = Work("matmul", dtype="int8", m=100, n=200, k=300, bits_a=8, bits_b=8, bits_c=8)
    device = arch.load("nvdla-large")
    fast, thrifty = (
        map_product(work, device, mapping.load(name))
        for name in ("nests-fastest", "nests-thriftiest")
    )
    assert fast.figures.latency_s <= thrifty.figures.latency_s
    assert thrifty.figures.energy_pj <= fast.figures.energy_pj


def test_an_architecture_without_such_an_array_is_refused() -> None:
    built = build_workload(load_model("gpt2"), prefill(1, 16))
    with pytest.raises(MappingError, match="`null` has no unit of kind spatial"):
        map_workload(built, arch.load("null"), mapping.load("nests-fastest"))


def test_a_mapping_that_fits_no_operator_names_the_operator() -> None:
    built = build_workload(load_model("resnet18", INT8), forward(1))
    policy = mapping.load("nests-fastest", {"nests.levels.CBuff.used": 2})
    with pytest.raises(MappingError, match=r"operator `stem\.stem` on `.*`: no level"):
        map_workload(built, arch.load("nvdla-large"), policy)


PRODUCT = Work("matmul", dtype="int8", m=100, n=200, k=300, bits_a=8, bits_b=8, bits_c=8)
CONV = Work("conv", dtype="int8", bits_a=8, bits_b=8, bits_c=8,
            conv=ConvShape((8, 8), (3, 3), (16, 32)))  # fmt: skip
COUNTED = {"on": "fastest", "nest": {"accounting": "timeloop"}}


def policy(*place: dict[str, object]) -> MappingSpec:
    """Return a policy of these rules, that searches for the least time where they do not say."""
    return MappingSpec.model_validate({"name": "made", "place": list(place)})


@pytest.fixture(scope="module")
def pair() -> ArchitectureSpec:
    """Return NVDLA's array beside one of an eighth of its clock, and a unit that takes no time."""
    one = arch.load("nvdla-large")
    fast = one.device.units["array"]
    assert isinstance(fast, SpatialArray)
    # not a copy: that would share what the array remembers
    slow = SpatialArray(**{**fast.model_dump(), "frequency_hz": fast.frequency_hz / 8})
    (null,) = arch.load("null").device.units.values()
    null = null.model_copy(update={"memory": fast.memory})  # type: ignore[attr-defined]
    units = {"slow": slow, "array": fast, "null": null}
    device = one.device.model_copy(update={"units": units})
    return one.model_copy(update={"device": device})


@pytest.mark.parametrize(
    ("when", "work", "holds"),
    [
        ("kind == 'matmul'", PRODUCT, True),
        ("kind == 'conv'", PRODUCT, False),
        ("m == 100 and n == 200 and k == 300 and batch == 1", PRODUCT, True),
        ("in_channels > 0 or heads > 0 or experts > 0", PRODUCT, False),
        ("function == 'score'", PRODUCT, False),
        # 2 x 100 x 200 x 300 operations on 200 x 300 bytes of the second operand
        ("intensity == 200", PRODUCT, True),
        ("intensity < 200", PRODUCT, False),
        ("in_channels == 16 and out_channels == 32 and groups == 1 and batch == 1", CONV, True),
        ("kernel_height * kernel_width == 9 and out_height == 8 and out_width == 8", CONV, True),
        ("intensity == 2 * 64", CONV, True),
        ("kernel_depth > 0", CONV, False),
        ("kind == 'conv' and label == 'stem'", PRODUCT, False),  # decided without its label
    ],
)
def test_a_lone_operator_follows_the_first_rule_that_holds(
    when: str, work: Work, holds: bool
) -> None:
    """Its nest is counted as that rule says, else as the next."""
    rules = policy({"when": when, **COUNTED}, {"on": "fastest"})
    found = map_product(work, arch.load("nvdla-large"), rules)
    assert found.rules == accounting("timeloop" if holds else "accelsim")


def test_a_product_has_the_constraints_of_a_chip_as_in_a_model() -> None:
    """TPUs keep weights while rows stream past, which the fastest nest need not."""
    device = arch.load("tpuv4i")
    chip = mapping.load("nests-tpu")
    bound = map_product(PRODUCT, device, chip)
    rule = next(rule for rule in chip.place if not rule.when)
    assert rule.nest is not None
    for level, said in rule.nest.levels.items():
        place = [node.name for node in bound.hierarchy.nodes].index(level)
        repeated = {loop.dim for loop in bound.nest.loops[place] if loop.factor > 1}
        assert repeated <= set(said.dims or ())
    free = map_product(PRODUCT, device, mapping.load("nests-fastest"))
    assert free.figures.latency_s <= bound.figures.latency_s
    assert free.nest != bound.nest


@pytest.mark.parametrize(
    ("when", "work", "name"),
    [
        ("label == 'attention'", PRODUCT, "label"),
        ("phase == 'decode' and m > 1", PRODUCT, "phase"),
        ("name in ['a', 'b']", PRODUCT, "name"),
        ("in_height > 8", CONV, "in_height"),  # without the padding it is not known
        ("out_depth > 1", replace(PRODUCT, kind="conv"), "out_depth"),
    ],
)
def test_a_rule_that_only_a_model_decides_is_refused(when: str, work: Work, name: str) -> None:
    """By number, mapping and condition; a rule before it that holds leaves it unasked."""
    device = arch.load("nvdla-large")
    asking: dict[str, object] = {"when": when, **COUNTED}
    other = {"when": f"kind == '{'conv' if work.kind == 'matmul' else 'matmul'}'"}
    with pytest.raises(
        MappingError, match=rf"rule 2 of `place` in mapping `made` .*{name}.* asks for `{name}`"
    ):
        map_product(work, device, policy(dict(other), asking, {"on": "fastest"}))
    found = map_product(work, device, policy({"when": f"kind == '{work.kind}'"}, asking))
    assert found.rules == accounting("accelsim")


def test_of_several_arrays_the_fastest_that_a_rule_allows_runs_it(pair: ArchitectureSpec) -> None:
    """By name or kind; units without nests are left out of `fastest`, as for a model."""
    every = map_product(PRODUCT, pair, policy({"on": "fastest"}))
    assert every.unit == "array"
    assert map_product(PRODUCT, pair, policy({"on": ["spatial"]})).unit == "array"
    slow = map_product(PRODUCT, pair, policy({"on": ["slow"]}))
    assert slow.unit == "slow"
    assert slow.figures.latency_s > every.figures.latency_s


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ([{"on": ["null"]}], r"rule 1 .*no condition.* places a lone matmul on null: .*spatial"),
        ([{"when": "kind == 'conv'"}], r"mapping `made`: no rule of `place` holds"),
        ([{"when": "m > 1", "on": ["spatial"], "coprocess": True}],
         r"rule 1 .*`when: m > 1`.* divides a lone matmul over slow, array .`coprocess`"),
    ],
)  # fmt: skip
def test_rules_that_leave_no_array_or_divide_are_refused(
    pair: ArchitectureSpec, place: list[dict[str, object]], says: str
) -> None:
    """Naming the rule."""
    with pytest.raises(MappingError, match=says):
        map_product(PRODUCT, pair, policy(*place))


def test_a_unit_alone_divides_nothing(pair: ArchitectureSpec) -> None:
    """As in a model, where `coprocess` with one unit has no effect."""
    alone = policy({"on": ["slow"], "coprocess": True})
    assert map_product(PRODUCT, pair, alone).unit == "slow"


def test_a_format_that_no_array_holds_is_refused() -> None:
    """As it was before rules were asked."""
    work = Work("matmul", dtype="fp32", m=8, n=8, k=8, bits_a=32, bits_b=32, bits_c=32)
    with pytest.raises(ConfigError, match="no format holds fp32"):
        map_product(work, arch.load("nvdla-large"), mapping.load("nests-fastest"))
