"""Truss, its floor and its peers, measured side by side on one machine in one run: `python -m benchmarks`."""
