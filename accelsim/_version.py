"""The version of accelsim: the one place that states it (hatchling reads it from here)."""

__version__ = "0.1.0"
