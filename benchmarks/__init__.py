"""Side-by-side ratios against named peers: `python -m benchmarks [NAME ...] [--json]`."""
