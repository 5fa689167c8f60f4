"""Benchmarks of serving: `python -m bench --only serving_requests` and the like."""
