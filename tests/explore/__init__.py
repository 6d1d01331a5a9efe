"""Tests of the exploration of design spaces."""
