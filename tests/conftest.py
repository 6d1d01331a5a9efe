"""Settings for all tests: conservation always checked, and no deadline for property tests."""

import os

from hypothesis import settings

os.environ["ACCELSIM_CHECK"] = "1"  # for worker and child processes, too

settings.register_profile("accelsim", deadline=None)  # the first example may compile a kernel
settings.load_profile("accelsim")
