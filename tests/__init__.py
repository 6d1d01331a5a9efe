"""Tests of accelsim; the folders mirror the rooms of the package."""
