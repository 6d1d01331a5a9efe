"""Compares predicted with measured operator times: reading, classes, baselines, scores, causes."""
