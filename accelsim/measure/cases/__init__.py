"""Adapters, one file per format of reference CSV: what its rows expect, what accelsim predicts."""
