"""Replays the same requests against two Kubernetes API servers and reports every difference between their answers.

`session` sends and records, `normalise` takes out what must differ (and nothing else), `compare` finds what differs,
`explained` holds the differences that are accepted with a reason, `report` writes it down. The requests are in `cases/`.
"""
