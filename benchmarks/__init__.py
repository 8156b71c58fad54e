"""Benchmarks: each module has a NAME and a `run()` that prints a table with hardware, versions, n and spread."""
