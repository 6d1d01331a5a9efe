"""Measurements: the reference back-end, cases, validation against them, and calibration."""
