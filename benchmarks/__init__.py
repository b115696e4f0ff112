"""Measured claims, each a command: ``python -m benchmarks.<name>``. Timings are ratios within one
run.
"""
