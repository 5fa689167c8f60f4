"""What a Prometheus page says."""


def total(page, name, labels=""):
    """The sum of a metric's samples whose labels contain the text."""
    found = 0.0
    for line in page.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.split("{")[0] == name and labels in sample:
            found += float(value)
    return found
