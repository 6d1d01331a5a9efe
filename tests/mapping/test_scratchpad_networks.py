"""Networks of irregular wiring: what they are, and what planning does for them."""

from __future__ import annotations

import pytest

from accelsim.mapping.scratchpad import (
    allocate,
    largest_footprint_bytes,
    lowest_peak,
    scratchpad_problem,
)
from accelsim.workload import validate

pytestmark = pytest.mark.checkout


def test_densenet_is_that_of_torchvision() -> None:
    """7 978 856 parameters, of which 2 x 41 824 are of batch norms, folded here."""
    from benchmarks.scratchpad_networks import densenet121

    assert validate(densenet121()).parameters == 7_978_856 - 2 * 41_824


@pytest.mark.parametrize("name", ["nasnet-a", "amoebanet", "darts"])
def test_cells_make_legal_networks(name: str) -> None:
    """Every state is read or joined: no operator without a reader beside the classifier."""
    from benchmarks.scratchpad_networks import cell_network

    problem = scratchpad_problem(validate(cell_network(name, layers=6)))
    assert sum(s.kept for s in problem.storages) == 1


def test_densenet_between_its_sizes_is_planned_optimally() -> None:
    """At COSMA's middle size, with proof, and with less traffic than eviction on demand."""
    from benchmarks.scratchpad_networks import densenet121

    problem = scratchpad_problem(densenet121())
    least, peak = largest_footprint_bytes(problem), lowest_peak(problem)
    assert peak.exact
    middle = (least + peak.peak_bytes) // 2
    plan = allocate(problem, middle, method="exact", time_limit_s=60)
    assert plan.status == "optimal"
    assert plan.noncompulsory_bytes > 0  # it is not trivial
    for baseline in ("belady", "belady-online"):
        other = allocate(problem, middle, method=baseline)
        assert plan.noncompulsory_bytes <= 0.5 * other.noncompulsory_bytes
    assert allocate(problem, peak.peak_bytes).noncompulsory_bytes == 0


def test_the_order_of_a_searched_network_saves_traffic() -> None:
    """Cells of NASNet at CIFAR-10's size: orders found are better than that of lowest peak."""
    from benchmarks.scratchpad_networks import cell_network

    net = cell_network("nasnet-a", channels=36, layers=6, image=32, deep_stem=False)
    problem = scratchpad_problem(net)
    size = largest_footprint_bytes(problem)
    plan = allocate(problem, size, method="heuristic", time_limit_s=10)
    given = allocate(problem, size, method="replacement")
    low = allocate(problem, size, method="belady-low-peak")
    assert plan.noncompulsory_bytes < given.noncompulsory_bytes
    assert plan.noncompulsory_bytes <= low.noncompulsory_bytes
