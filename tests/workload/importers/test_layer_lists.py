"""Layer lists of other simulators: SCALE-Sim topologies and Timeloop problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError
from accelsim.workload import Dtypes, totals, validate
from accelsim.workload.importers.scalesim import from_scalesim
from accelsim.workload.importers.timeloop import from_timeloop

_HEAD = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter,"
    " Strides,"
)
_CONV = f"""{_HEAD}
Net,
Conv1, 224, 224, 7, 7, 3, 64, 2,
Conv2, 58, 58, 3, 3, 64, 64, 1,
FC, 1, 1, 1, 1, 512, 1000, 1,
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_topology_of_convolutions_has_scalesims_macs(tmp_path: Path) -> None:
    """Output sides are ceil((224 - 7 + 2) / 2) = 110 and 56; names and networks are kept apart."""
    found = validate(from_scalesim(write(tmp_path, "net.csv", _CONV)))
    names = [operator.name for _, operator in found.operators()]
    assert names == ["Conv1.conv", "Conv2.conv", "FC.conv"]
    assert totals(found).macs == 110**2 * 147 * 64 + 56**2 * 576 * 64 + 512 * 1000
    assert len(found.inputs) == len(found.outputs) == 3
    assert "no data flow" in found.conventions["dependencies"]


def test_a_topology_of_products(tmp_path: Path) -> None:
    """M, N and K are a linear layer each; formats are the caller's."""
    path = write(tmp_path, "gemm.csv", "Layer, M, N, K,\nG0, 128, 256, 64,\n")
    found = validate(from_scalesim(path, dtypes=Dtypes(weight="int8")))
    ((_, operator),) = found.operators()
    assert dict(operator.dims) == {"batch": 1, "m": 128, "n": 256, "k": 64}
    assert totals(found).weight_read_bytes == 256 * 64


def test_sparsity_of_a_topology_leaves_zeros_out(tmp_path: Path) -> None:
    """1:4 keeps a quarter of the weights."""
    text = f"{_HEAD} Sparsity,\nConv1, 10, 10, 3, 3, 8, 8, 1, 1:4,\n"
    found = from_scalesim(write(tmp_path, "sparse.csv", text))
    assert totals(found).zero_macs == totals(found).macs * 3 // 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a, b, c\n1, 2, 3\n", r":1: is no SCALE-Sim topology"),
        (f"{_HEAD}\nConv1, 224, x, 7, 7, 3, 64, 2,\n", r":2: ifmap width: found `x`"),
        (f"{_HEAD}\nConv1, 224, 224, 7,\n", r":2: layer `Conv1` has no `filter width`"),
        (f"{_HEAD}\nConv1, 4, 4, 7, 7, 3, 64, 2,\n", r":2: a filter of 7x7 exceeds 4x4"),
        (f"{_HEAD}\n\n", r"holds no layer"),
        (f"{_HEAD} Sparsity,\nC, 9, 9, 3, 3, 3, 6, 2, 5:4,\n", r":2: sparsity: found `5:4`"),
    ],
)
def test_a_damaged_topology_names_its_line(text: str, said: str, tmp_path: Path) -> None:
    """The error names file, line and column."""
    with pytest.raises(ConfigError, match=rf"net\.csv{said}|net\.csv: {said}"):
        from_scalesim(write(tmp_path, "net.csv", text))


_PROBLEM = """
problem:
  version: 0.4
  shape:
    name: cnn_layer
    coefficients:
      - {name: Wstride, default: 1}
      - {name: Hstride, default: 1}
      - {name: Wdilation, default: 1}
      - {name: Hdilation, default: 1}
    dimensions: [C, M, R, S, N, P, Q]
    data_spaces:
      - name: Weights
        projection: [[[C]], [[M]], [[R]], [[S]]]
      - name: Inputs
        projection: [[[N]], [[C]], [[R, Wdilation], [P, Wstride]], [[S, Hdilation], [Q, Hstride]]]
      - name: Outputs
        projection: [[[N]], [[M]], [[Q]], [[P]]]
        read_write: True
  instance: {C: 3, M: 64, R: 7, S: 7, N: 1, P: 112, Q: 112, Wstride: 2, Hstride: 2}
"""


def test_a_timeloop_problem_is_a_convolution(tmp_path: Path) -> None:
    """The first layer of a ResNet: 118,013,952 MACs, its strides from the instance."""
    found = validate(from_timeloop(write(tmp_path, "layer.yaml", _PROBLEM)))
    ((_, operator),) = found.operators()
    assert operator.kind == "conv"
    assert totals(found).macs == 118_013_952
    assert operator.attributes["stride"] == (2, 2)
    assert found.parameters == 64 * 3 * 49


def test_a_timeloop_problem_with_densities(tmp_path: Path) -> None:
    """Sparse weights leave zeros out."""
    text = _PROBLEM.replace("Hstride: 2}", "Hstride: 2, densities: {Weights: 0.5}}")
    found = from_timeloop(write(tmp_path, "layer.yaml", text))
    assert totals(found).zero_macs == totals(found).macs // 2


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("        read_write: True\n", "", r":\d+:\d+: 0 data spaces are written"),
        ("C: 3, ", "", r"rank `C` has no size"),
        ("data_spaces:", "spaces:", r"`data_spaces` is missing"),
        ("  instance:", "  instances:", r"`instance` is missing"),
        ("[R, Wdilation]", "[R, dilation]", r"R: coefficient `dilation` has no value"),
    ],
)
def test_a_damaged_problem_names_its_place(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    """The error names file and line."""
    path = write(tmp_path, "layer.yaml", _PROBLEM.replace(before, after))
    with pytest.raises(ConfigError, match=rf"layer\.yaml.*{said}"):
        from_timeloop(path)
