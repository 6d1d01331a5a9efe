"""accelsim: simulate and explore hardware accelerators for machine-learning models."""

from accelsim._version import __version__

__all__ = ["__version__"]
