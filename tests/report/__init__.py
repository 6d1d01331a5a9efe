"""Tests of figures and tables."""
