"""Benchmarks that print ratios: `purlin up` against kube-apiserver with etcd on the same machine, in one run.

They report and never judge: no figure fails the run. What was measured last is in docs/benchmarks.md.
"""
