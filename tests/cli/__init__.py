"""Tests of the command line, in this process unless one asks for another."""
