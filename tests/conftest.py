"""Settings for all tests: property tests have no deadline, as the first example may compile."""

from hypothesis import settings

settings.register_profile("accelsim", deadline=None)
settings.load_profile("accelsim")
