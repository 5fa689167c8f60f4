"""The report of a replay: Markdown for people, JSON beside it for machines."""

import json


def write(path, outcomes, stale, names):
    """Writes `path` (Markdown) and the same with .json."""
    requests = sum(o.requests for o in outcomes)
    unexplained = [d for o in outcomes for d in o.unexplained]
    explained = [e for o in outcomes for e in o.explained]
    lines = [
        "# Conformance",
        "",
        f"{len(outcomes)} cases, {requests} requests to each server; {len(unexplained)} unexplained differences, "
        f"{len(explained)} explained, {len(stale)} stale explanations.",
        f"`a` is {names[0]}, `b` is {names[1]}.",
        "",
    ]
    for title, rows in (("Unexplained", [(d, "") for d in unexplained]), ("Explained", explained)):
        if rows:
            lines += [f"## {title}", ""]
        for difference, reason in rows:
            lines.append(f"- **{difference.case}** step {difference.step} `{difference.request}`  ")
            lines.append(
                f"  at `{difference.path}`: a = `{_short(difference.a)}`, b = `{_short(difference.b)}`"
            )
            if reason:
                lines.append(f"  — {reason}")
        if rows:
            lines.append("")
    if stale:
        lines += ["## Stale explanations", ""]
        lines += [f"- {entry['case']} step {entry['step']} at `{entry['path']}`" for entry in stale] + [""]
    lines += ["## Cases", "", "| case | requests | explained | unexplained |", "|---|---|---|---|"]
    lines += [f"| {o.name} | {o.requests} | {len(o.explained)} | {len(o.unexplained)} |" for o in outcomes]
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".json").write_text(
        json.dumps(
            {
                "cases": len(outcomes),
                "requests": requests,
                "unexplained": [{**d.as_explanation(), "request": d.request} for d in unexplained],
                "explained": [
                    {**d.as_explanation(), "request": d.request, "reason": r} for d, r in explained
                ],
                "stale": stale,
            },
            indent=1,
        )
    )


def _short(value, limit=400):
    text = json.dumps(value)
    return text if len(text) <= limit else text[:limit] + " ..."
