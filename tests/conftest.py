"""Settings for all tests: conservation always checked; property tests without a deadline.

Where the environment has ``CI``, property tests draw the same examples every time, so that a
change is judged by what it changes; elsewhere they go on searching.
"""

import os
import signal

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
