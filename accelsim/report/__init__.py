"""Presents results: figures and tables for people to read and papers to print."""
