"""Leaves this folder out of doctests where torch is missing; nothing else reads it."""

from importlib.util import find_spec
from typing import Final

__all__ = ["collect_ignore_glob"]

collect_ignore_glob: Final = [] if find_spec("torch") else ["*.py"]
