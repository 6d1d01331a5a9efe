"""What every model of the library must do, whichever file brings it."""

from __future__ import annotations

import pytest

from accelsim.config import library
from accelsim.workload import (
    Conventions,
    Dtypes,
    Phase,
    Request,
    Role,
    SequenceGroup,
    decode,
    flop_split,
    generation,
    generation_totals,
    load_model,
    mixed,
    model_names,
    phase_of,
    prefill,
    resident_bytes,
    totals,
    validate,
    workload,
)
from accelsim.workload.families import family
from tests.workload import closed_form

EVERY = Conventions(logits="all")
NAMES = model_names()
PASSES = [
    (name, kind)
    for name in NAMES
    if load_model(name).family != "pipeline"
    for kind in family(load_model(name).family).PHASES
    if kind != "forward" or getattr(load_model(name).parameters, "bidirectional", True)
]
"""Every kind of pass that a model runs; causal decoders have no forward."""


PIPELINES = [name for name in NAMES if load_model(name).family == "pipeline"]


def plain(name: str) -> bool:
    """Say whether a model is a decoder that the second closed form knows."""
    model = load_model(name)
    if model.family != "decoder" or model.transforms:
        return False
    given = model.parameters
    if given.attention != "standard" or given.attention_chunk_size or given.q_lora_rank:
        return False
    return not (given.parallel or given.post_norms or given.bidirectional or given.lm_head_bias)


DECODERS = [name for name in NAMES if plain(name)]
PHASES = [
    prefill(1, 37),
    prefill(3, 16, 200),
    decode(5, 4000),
    mixed([SequenceGroup(2, 9), SequenceGroup(4, 1, 700)]),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_named_after_the_model(name: str) -> None:
    """A model is found by its file's name, stands in its family's folder, and says its source."""
    model = load_model(name)
    assert model.name == name
    assert library.find("models", name).parent.name == model.family
    assert model.source.strip()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_near_the_published_count(name: str) -> None:
    """A published count is rounded; a typing error in a dimension is larger than the rounding."""
    model = load_model(name)
    if model.published_parameters is None:
        return
    count = family(model.family).parameter_count(model.parameters)
    assert count == pytest.approx(model.published_parameters, rel=0.015)


@pytest.mark.parametrize(("name", "kind"), PASSES)
def test_every_pass_is_legal_and_costs_something(name: str, kind: str) -> None:
    """A family's graphs are legal in every kind of pass, for one and for several."""
    model = load_model(name)
    one, three = (validate(workload(model, phase_of(model, kind, batch, 64))) for batch in (1, 3))
    little, more = totals(one), totals(three)
    assert 0 < little.macs + little.vector_ops < more.macs + more.vector_ops
    assert little.macs < more.macs or more.macs == 0
    assert (
        one.parameters
        == three.parameters
        == family(model.family).parameter_count(model.parameters)
    )
    assert one.active_parameters <= one.parameters


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_is_the_sum_of_its_networks(name: str) -> None:
    """FLOPs of a generation are those of its passes, each so many times."""
    made = generation(name)
    assert generation_totals(made).macs == sum(
        stage.times * totals(validate(stage.workload)).macs for stage in made.stages
    )
    fewer = generation(name, request=Request(steps=1))
    assert generation_totals(fewer).macs < generation_totals(made).macs


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_the_graph_is_legal_and_equals_the_second_closed_form(name: str, phase: Phase) -> None:
    """Parameters and FLOPs equal a closed form written by hand, in every kind of phase."""
    model = load_model(name)
    graph = validate(
        workload(model, phase, conventions=Conventions(logits="all"), dtypes=Dtypes())
    )
    fields = model.parameters.model_dump()
    wanted = closed_form.parameters(fields)
    assert (graph.parameters, graph.active_parameters) == tuple(wanted.values())
    want = closed_form.flops(fields, [(g.count, g.q_len, g.past_len) for g in phase.groups])
    assert sum(flop_split(graph).values()) == want["total"]
    assert flop_split(graph, unmasked=True)["attention"] == want["attn_causal"]
    assert resident_bytes(graph)[Role.WEIGHT] == 2 * graph.parameters


@pytest.mark.parametrize("name", DECODERS)
def test_more_work_never_takes_fewer_bytes(name: str) -> None:
    """A larger batch or a longer past reads at least as much of everything."""
    base, wider, longer = (
        totals(workload(name, phase)) for phase in (decode(1, 64), decode(4, 64), decode(1, 256))
    )
    for more in (wider, longer):
        assert more.macs >= base.macs
        assert more.read_bytes > base.read_bytes
        assert more.weight_read_bytes >= base.weight_read_bytes
