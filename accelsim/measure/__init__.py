"""Measurements: reference cases, validation against them, and calibration of cost models."""
