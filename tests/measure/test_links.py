"""Measured collectives by the link of their board: which link, and which rows have none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accelsim.config import library, load_spec
from accelsim.cost.link import AlphaBetaLink
from accelsim.measure.links import collective_s

ROW = {"op": "allreduce", "impl": "nccl-2.27", "timing": "kernel", "notes": "", "bytes": 1 << 20,
       "n_devices": 4}  # fmt: skip


def seconds(board: str, **changes: object) -> float:
    found, reasons = collective_s(pd.DataFrame([ROW | changes]), board)
    assert reasons[0] == ""
    return float(found[0])


def by(name: str, pattern: str = "all_reduce", size: int = 1 << 20, devices: int = 4) -> float:
    link = load_spec(library.find("arch", f"components/{name}"), AlphaBetaLink)
    return link.collective_ps(pattern, size, devices) * 1e-12


@pytest.mark.parametrize(
    ("board", "link"),
    [("A100-SXM4-80GB", "nvlink3"), ("A40", "pcie4_x16"), ("M40", "pcie3_x16")],
)
def test_a_board_has_the_link_of_its_architecture(board: str, link: str) -> None:
    """For every pattern of the tables."""
    for op, pattern in (
        ("allreduce", "all_reduce"), ("allgather", "all_gather"), ("alltoall", "all_to_all"),
        ("reducescatter", "reduce_scatter"), ("send_recv", "transfer"),
    ):  # fmt: skip
        assert seconds(board, op=op) == by(link, pattern)


def test_serving_libraries_have_kernels_of_their_own() -> None:
    """On NVLink 3, where they were measured; elsewhere they run as NCCL does."""
    assert seconds("A100-SXM4-80GB", impl="vllm-0.14") == by("nvlink3_serving")
    assert seconds("A40", impl="vllm-0.14") == seconds("A40")


def test_bridged_pairs_use_the_bus_from_three_cards() -> None:
    """Two are joined by their bridge."""
    noted = {"notes": "pairwise NVLink + PCIe; 2 per node"}
    assert seconds("A40", n_devices=2, **noted) == by("nvlink3_bridge", devices=2)
    assert seconds("A40", **noted) == by("pcie4_x16")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timing": "eager"}, "its clock holds the host"),
        ({"notes": "NVSwitch; crosses nodes"}, "their network is not described"),
        ({"bytes": None}, "does not tell its sizes"),
    ],
)
def test_what_has_no_time_is_said(changes: dict[str, object], reason: str) -> None:
    """The row beside it has one."""
    frame = pd.DataFrame([ROW | changes, ROW])
    found, reasons = collective_s(frame, "A100-SXM4-80GB")
    assert np.isnan(found).tolist() == [True, False]
    assert reason in reasons[0]


def test_a_board_without_a_link_is_said() -> None:
    """It has no architecture file, either."""
    found, reasons = collective_s(pd.DataFrame([ROW]), "nobody's board")
    assert np.isnan(found[0])
    assert "no link is described" in reasons[0]
