"""Benchmarks that print ratios: `purlin up` against kube-apiserver with etcd on the same machine, in one run.

They report and never judge: no figure fails the run. Plugin calls are measured by the sandbox's own bench.
"""
