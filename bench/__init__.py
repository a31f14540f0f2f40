"""Benchmarks: each measures EVS and its yardstick interleaved in one run, on the same data. Never part of the tests."""
