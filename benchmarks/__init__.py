"""Measures speed and quality. `make bench` runs benchmarks.bench; the others run as `python -m benchmarks.NAME`."""
