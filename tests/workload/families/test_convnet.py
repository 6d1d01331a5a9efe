"""Convolutional networks: figures of real classes, spikes, and the laws of their parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.errors import ConfigError
from accelsim.workload import (
    Extent,
    Workload,
    flop_split,
    forward,
    load_model,
    totals,
    validate,
    weight_elements,
)
from accelsim.workload.families.convnet import ConvnetConfig, Stage, build, parameter_count
from tests.workload.configs import law
from tests.workload.families.images import counted, model_of, wrong_rows

LIBRARY = [
    ("mobilenetv1", 1, 224, 224, 4231976, 1137480704),
    ("mobilenetv1", 1, 225, 301, 4231976, 1653565696),
    ("mobilenetv2", 1, 224, 224, 3504872, 601548544),
    ("mobilenetv2", 1, 225, 301, 3504872, 884337088),
    ("mobilenetv2-140", 1, 224, 224, 6108776, 1164391648),
    ("mobilenetv2-140", 1, 225, 301, 6108776, 1713105024),
    ("efficientnet-b0", 1, 224, 224, 5288548, 771629504),
    ("efficientnet-b0", 1, 225, 301, 5288548, 1147587488),
    ("efficientnet-b1", 1, 240, 240, 7794184, 1373605664),
    ("efficientnet-b1", 1, 225, 301, 7794184, 1705230400),
    ("resnet18", 1, 224, 224, 11689512, 3628146688),
    ("resnet18", 1, 225, 301, 11689512, 5292724864),
    ("resnet34", 1, 224, 224, 21797672, 7327522816),
    ("resnet34", 1, 225, 301, 21797672, 10676048512),
    ("resnet50", 1, 224, 224, 25557032, 8178368512),
    ("resnet50", 1, 225, 301, 25557032, 11908641408),
    ("resnet101", 1, 224, 224, 44549160, 15602810880),
    ("resnet101", 1, 225, 301, 44549160, 22704386688),
    ("resnet152", 1, 224, 224, 60192808, 23027253248),
    ("resnet152", 1, 225, 301, 60192808, 33415459456),
    ("resnext50-32x4d", 1, 224, 224, 25028904, 8460959744),
    ("resnext50-32x4d", 1, 225, 301, 25028904, 12287279744),
    ("wide-resnet50", 1, 224, 224, 68883240, 22796042240),
    ("wide-resnet50", 1, 225, 301, 68883240, 33242509952),
    ("convnext-tiny", 1, 224, 224, 28589128, 8911062528),
    ("convnext-tiny", 1, 225, 301, 28589128, 11592503808),
    ("convnext-small", 1, 224, 224, 50223688, 17367424512),
    ("convnext-small", 1, 225, 301, 50223688, 22464969216),
    ("convnext-base", 1, 224, 224, 88591464, 30709458944),
    ("convnext-base", 1, 225, 301, 88591464, 39721039872),
    ("convnext-large", 1, 224, 224, 197767336, 68722867200),
    ("convnext-large", 1, 225, 301, 197767336, 88884802560),
    ("vgg11", 1, 224, 224, 132863336, 15218180096),
    ("vgg13", 1, 224, 224, 133047848, 22616932352),
    ("vgg16", 1, 224, 224, 138357544, 30940528640),
    ("vgg19", 1, 224, 224, 143667240, 39264124928),
    ("alexnet", 1, 224, 224, 61100840, 1428376960),
    ("alexnet", 2, 256, 320, 61100840, 4620057344),
]
"""Model, images, height, width, parameters and FLOPs by torch 2.13.0's FlopCounterMode on meta
tensors: timm 1.0.31; AlexNet as torchvision has it, with its adaptive pooling."""


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters and FLOPs by class equal those of the real models."""
    wrong, seen = wrong_rows("convnet")
    assert not wrong, "\n".join(wrong)
    assert seen >= {"resnet50", "resnet18", "mobilenetv2", "convnext-tiny"}


@pytest.mark.parametrize(("name", "batch", "height", "width", "parameters", "flops"), LIBRARY)
def test_the_library_equals_the_real_class(
    name: str, batch: int, height: int, width: int, parameters: int, flops: int
) -> None:
    """Parameters and FLOPs of a model of the library are those of the class it is named after."""
    assert counted(model_of(name, batch, height, width)) == (parameters, flops)


BLOCKS = ("basic", "bottleneck", "inverted", "separable", "convnext", "vgg")


@st.composite
def configs(draw: st.DrawFn) -> ConvnetConfig:
    """Draw a legal network of every kind of block, with every option."""
    block = draw(st.sampled_from(BLOCKS))
    groups, reduction = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    width = st.integers(1, 4).map(lambda n: n * groups * reduction)
    stages = tuple(
        Stage(
            channels=draw(width), blocks=draw(st.integers(1, 3)), stride=draw(st.integers(1, 2)),
            expansion=draw(st.integers(1, 3)), kernel=draw(st.sampled_from([3, 5])),
            pool=draw(st.sampled_from([0, 2, 3])),
        )
        for _ in range(draw(st.integers(1, 3)))
    )  # fmt: skip
    fields: dict[str, Any] = {
        "block": block, "stages": stages, "image_size": 96, "groups": groups,
        "num_channels": draw(st.integers(1, 4)), "reduction": reduction,
        "num_classes": draw(st.integers(1 if block == "vgg" else 0, 5)),
        "layer_scale": draw(st.booleans()), "stride_first": draw(st.booleans()),
        "bias": draw(st.booleans()), "head_channels": draw(st.none() | st.integers(1, 5)),
    }  # fmt: skip
    if block == "vgg":
        fields |= {"fully_connected": (7, 5), "time_steps": draw(st.integers(1, 3)),
                   "head_channels": None}  # fmt: skip
    else:
        fields["stem"] = draw(st.integers(1, 4)) * 2
    if block == "inverted":
        fields["squeeze"] = draw(st.sampled_from([0, 1]))
    return ConvnetConfig(**fields)


sizes = st.none() | st.tuples(st.integers(96, 130), st.integers(96, 130))


@law
@given(configs(), st.integers(1, 3), sizes)
def test_every_graph_is_legal_and_holds_its_parameters(
    config: ConvnetConfig, batch: int, size: tuple[int, int] | None
) -> None:
    """The weights are the configuration's parameters, whatever the image."""
    graph = validate(build(config, forward(batch, extent=size and Extent(*size))))
    assert weight_elements(graph) == graph.parameters == parameter_count(config)


@law
@given(configs(), st.integers(2, 5))
def test_images_do_not_see_each_other(config: ConvnetConfig, batch: int) -> None:
    """The work of a batch is that of so many images."""
    one, many = (totals(build(config, forward(n))) for n in (1, batch))
    assert many.macs == batch * one.macs
    assert many.vector_ops == batch * one.vector_ops


def test_equal_blocks_are_one_block() -> None:
    """ResNet-50's sixteen blocks are eight bodies, those of a stage behind its first together."""
    graph = model_of("resnet50", 1, 224, 224)
    assert [(b.name, b.count) for b in graph.blocks] == [
        ("stem", 1),
        ("stage.0.0", 1), ("stage.0.1", 2), ("stage.1.0", 1), ("stage.1.1", 3),
        ("stage.2.0", 1), ("stage.2.1", 5), ("stage.3.0", 1), ("stage.3.1", 2),
        ("head", 1),
    ]  # fmt: skip


def test_fully_connected_layers_see_their_own_positions() -> None:
    """Another image is pooled to the positions they are made for, and the graph says so."""
    own, other = (model_of("vgg16", 1, *size) for size in ((224, 224), (256, 320)))
    assert flop_split(own)["linear"] == flop_split(other)["linear"]
    assert "7x7" in other.conventions["classifier"]
    assert "classifier" not in own.conventions


def spiking(steps: int) -> Workload:
    model = load_model("spiking-vgg16", {"parameters.time_steps": steps})
    return validate(build(model.parameters, forward(1)))


def test_a_spiking_network_repeats_its_layers_over_the_steps() -> None:
    """Work grows with the steps, parameters do not; a network of one step is an ordinary one."""
    five, one = spiking(5), spiking(1)
    convolutions = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 2 * 256 * 256
                        + 256 * 512 + 5 * 512 * 512)  # fmt: skip
    connected = 4 * 512 * 4096 + 4096 * 4096 + 4096 * 10
    assert five.parameters == one.parameters == convolutions + connected
    assert totals(five).macs == 5 * totals(one).macs
    assert "spikes" in five.conventions
    assert "spikes" not in one.conventions


def test_products_with_spikes_are_marked() -> None:
    """Every layer but the first reads spikes of one bit."""
    products = [
        (operator, block.tensors[operator.inputs[0]])
        for block, operator in spiking(5).operators()
        if operator.kind in ("conv", "matmul")
    ]
    assert [tensor.dtype for _, tensor in products] == ["bf16"] + ["int1"] * (len(products) - 1)
    assert all(
        bool(operator.attributes.get("spikes")) == (tensor.dtype == "int1")
        for operator, tensor in products
    )


def test_spikes_take_one_bit() -> None:
    """So a spiking network of one step's activations would move an eighth and less of bytes."""
    for block in spiking(2).blocks:
        for name, tensor in block.tensors.items():
            if name in ("spikes", "fc0_spikes", "hidden"):
                assert tensor.size_bytes == -(-tensor.elements // 8)


@pytest.mark.parametrize(
    ("name", "extent", "text"),
    [
        ("convnext-tiny", Extent(16, 16), "too small: 1x1 positions .* window of 2x2"),
        ("vgg16", Extent(16, 16), "too small"),
        ("resnet50", Extent(224, 224, 8), "not videos"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(name: str, extent: Extent, text: str) -> None:
    """The error says what is left of the image, and where."""
    with pytest.raises(ConfigError, match=text):
        build(load_model(name).parameters, forward(1, extent=extent))


RESNET: dict[str, Any] = {"block": "basic", "stem": 8, "stages": [{"channels": 8, "blocks": 1}]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fully_connected": [8]}, "fully_connected is VGG's"),
        ({"time_steps": 4}, "spiking networks are built of `vgg`"),
        ({"stem": None}, "needs the channels of its stem"),
        ({"block": "vgg", "num_classes": 0}, "needs num_classes"),
        ({"block": "bottleneck", "groups": 3}, "8 channels do not divide by reduction 4 x"),
        ({"width": 3}, "unknown key `width`"),
    ],
)
def test_an_impossible_model_is_refused(changes: dict[str, Any], text: str) -> None:
    """Each mistake is refused with a text that names the field."""
    with pytest.raises(ValidationError, match=text):
        ConvnetConfig(**{**RESNET, **changes})
