"""Figures that are drawn from a run's results."""

import statistics

NOTHING = "–"


def costs(results, case, name, kind="cpu"):
    """Microseconds for each delivery, echo or handshake, a round each; None where the round failed.
    results["basis"] chooses whose: of the server's whole processor ("core"), or of its process."""
    found = []
    for report in results[kind].get(case, {}).get(name, []):
        cpu = report["cpu"] if report and report["whole"] else {}
        part = cpu.get(results.get("basis", "core")) or cpu.get("machine_without_load") or {}
        found.append(part.get("us_each"))
    return found


def others_share(results):
    """What part of the server's processor went to something else than the server's process, in the
    middle measurement: kernel threads and interrupts on a quiet machine."""
    return middle([1 - cpu["process"]["seconds"] / cpu["core"]["seconds"]
                   for by_name in results["cpu"].values() for reports in by_name.values()
                   for cpu in (report["cpu"] for report in reports if report)
                   if cpu.get("core", {}).get("seconds")])


def process_costs(results, case, name):
    """The same as the server's process alone is charged for."""
    reports = results["cpu"].get(case, {}).get(name, [])
    return [report["cpu"]["process"].get("us_each") for report in reports
            if report and report["whole"]]


def ratios(above, below):
    """Quotients of the rounds that both have."""
    return [a / b for a, b in zip(above, below) if a and b]


def middle(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def figure(value):
    """Three digits, as many as such figures hold."""
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def memory_steps(results, kind, name):
    reports = [report for report in results["memory"].get(kind, {}).get(name, []) if report]
    return reports[-1]["steps"] if reports else []


def slope(steps, field, at=10000):
    """Bytes a connection from the first step to the one at most at `at` connections."""
    used = [step for step in steps if 0 < step["connections"] <= at]
    if len(used) < 2:
        return None
    return ((used[-1][field] - used[0][field])
            / (used[-1]["connections"] - used[0]["connections"]))
