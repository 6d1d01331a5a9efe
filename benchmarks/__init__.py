"""Measured speeds: ``python -m benchmarks`` for all, ``-m benchmarks.bench_engine`` for one."""
