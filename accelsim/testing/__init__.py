"""Checks that anything registered with accelsim must pass, for you to inherit in your tests."""
