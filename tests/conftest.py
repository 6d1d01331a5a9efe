"""Settings for all tests: conservation always checked; property tests without a deadline.

Where the environment has ``CI``, property tests draw the same examples every time, so that a
change is judged by what it changes; elsewhere they go on searching.
"""

import os
import signal

import pytest
from hypothesis import settings

os.environ["ACCELSIM_CHECK"] = "1"  # for worker and child processes, too

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "accelsim",
    deadline=None,  # the first example may compile a kernel
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("accelsim")

# Kernels that compile for many seconds, and the tests that call them: one worker compiles them.
KERNELS = {
    "ports": ("nest/test_ports", "studies/test_ported", "studies/zigzag"),
    "mapper": (
        "nest/mapper/", "nest/fuse/", "mapping/test_nests", "mapping/test_fusion", "cli/test_nest",
        "cli/test_fuse", "report/test_nest", "studies/test_nests", "studies/nvdla",
        "studies/simba", "studies/accelforge", "answer_every_figure[accelforge", "nvdla-large",
    ),
}  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of one kernel together, where tests run in parallel by groups."""
    for item in items:
        for group, names in KERNELS.items():
            if any(name in item.nodeid for name in names):
                item.add_marker(pytest.mark.xdist_group(group))
