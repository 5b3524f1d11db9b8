"""Makes the tables of a run's results: ratios, figures, memory, latency, goals; in Markdown."""

import statistics

from . import cases, goals, peers
from .figures import (NOTHING, costs, figure, memory_steps, middle, others_share, process_costs,
                      ratios, slope)

TITLES = {peer.name: peer.title for peer in peers.PEERS}


def with_spread(values):
    if not values:
        return NOTHING
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"**{figure(mid)}** ({figure(low)}–{figure(high)})"


def table(head, rows):
    """A Markdown table; the first column is to the left, the others to the right."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measured_cases(results, tls):
    return [case for case in (*cases.CPU, *cases.TLS, *cases.SMOKE)
            if case.tls == tls and case.name in results["cpu"]]


def names_in(results, kind, case_names):
    """Peers that were measured in one of the cases, in their usual order."""
    return [name for name in TITLES
            if any(results[kind].get(case, {}).get(name) for case in case_names)]


def cpu_table(results, tls, cell):
    chosen = measured_cases(results, tls)
    rows = [[TITLES[name]] + [cell(case.name, name) for case in chosen]
            for name in names_in(results, "cpu", [case.name for case in chosen])]
    return table([""] + [case.title for case in chosen], rows) if rows else ""


def ratio_table(results, tls):
    def cell(case, name):
        return with_spread(ratios(costs(results, case, name),
                                  costs(results, case, peers.SLUICE)))
    return cpu_table(results, tls, cell)


def cost_table(results, tls):
    def cell(case, name):
        whole = middle(costs(results | {"basis": "core"}, case, name))
        process = middle(process_costs(results, case, name))
        return f"{figure(whole)} ({figure(process)})"
    return cpu_table(results, tls, cell)


def memory_table(results, kind):
    steps_wanted = results["steps"]
    rows = []
    for name in names_in(results, "memory", [kind]):
        steps = memory_steps(results, kind, name)
        if not steps:
            continue
        at = {step["connections"]: step["pss"] for step in steps}
        # The slabs of sockets alone, where the load may read them: others' slabs move, too.
        slab = "slab_sockets" if steps[-1].get("slab_sockets") else "slab"
        kernel = [slope(steps, field) or 0 for field in (slab, "tcp_buffers", "page_tables")]
        rows.append([TITLES[name], f"{at[0] / 2**20:.1f}", figure(slope(steps, "anonymous")),
                     figure(sum(kernel))]
                    + [f"{at[count] / 2**20:.1f}" for count in steps_wanted if count in at])
    return table(["", "MiB before the first", "bytes a connection", "kernel, both ends"]
                 + [f"MiB at {count:,}" for count in steps_wanted], rows) if rows else ""


def latency_table(results):
    rows = []
    for case, by_name in results["latency"].items():
        for name in names_in(results, "latency", [case]):
            reports = [report for report in by_name[name] if report]
            if reports:
                rows.append([TITLES[name]] + [
                    with_spread([report["latency_us"][percent] for report in reports])
                    for percent in ("p50", "p99", "p99.9")])
    return table(["µs", "p50", "p99", "p99.9"], rows) if rows else ""


def threads_table(results):
    rows = []
    for what in results["threads"]:
        found = costs(results, what, peers.SLUICE, "threads")
        rows.append([what, with_spread([cost for cost in found if cost])])
    return table(["", "µs a delivery, both processors less the load"], rows) if rows else ""


def goal_table(results):
    rows = [[goal.text, goal.limit_text, goal.show(value),
             "yes" if value <= goal.limit else "**no**"]
            for goal, value in goals.measured(results) if value is not None]
    return table(["", "at most", "measured", "reached"], rows) if rows else ""


def counted(count, noun):
    return f"{count} {noun}{'' if count == 1 else 's'}"


def heading(results):
    machine = results["machine"]
    lines = [f"{machine['date']}, Sluice {machine['commit']}, on {machine['processors']} × "
             f"{machine['processor']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
             f"{machine['system']}, {machine['libc']}. {counted(results['rounds'], 'round')} of "
             f"{results['measure_ms'] / 1000:g} s for each case and server, one after another; "
             "medians, with the lowest and highest round in brackets."]
    others = others_share(results)
    if others is not None:
        lines.append(f"Of the time that the server's processor was busy, {max(0, others):.0%} went "
                     "to something else than the server's process in the middle measurement.")
    if results["busy_before"] > 0.03:
        lines.append("**The machine was not quiet: before the run, others kept the server's "
                     f"processor busy for {results['busy_before']:.0%} of the time.**")
    if results.get("basis") == "process":
        lines.append("**Ratios are of the time charged to the server's process, not of its whole "
                     "processor.**")
    versions = "; ".join(f"{TITLES[name]}: {version}"
                         for name, version in results["versions"].items())
    lines.append(f"Versions: {versions}.")
    if results["absent"]:
        lines.append("Not there: " + ", ".join(f"{TITLES[name]} ({why})" for name, why
                                               in results["absent"].items()) + ".")
    return "\n\n".join(lines)


def failures(results):
    return "\n".join(f"- {TITLES[entry['peer']]}, {entry['what']}: {entry['reason']}"
                     for entry in results["failures"]) or "None."


def page(results):
    """All of it, with the headings."""
    parts = [heading(results)]
    for title, text in (
            ("Processor time, Sluice = 1.00", ratio_table(results, False)),
            ("The same with TLS 1.3, " + results["ciphersuite"], ratio_table(results, True)),
            ("Microseconds of the server's whole processor (of its process alone)",
             cost_table(results, False)),
            ("The same with TLS", cost_table(results, True)),
            ("Memory of idle connections in rooms, ws", memory_table(results, "ws")),
            ("Memory of idle connections in rooms, wss", memory_table(results, "wss")),
            (f"Latency at half load, open loop, {results.get('latency_rate', 0):,} messages a "
             "second to 100 members each", latency_table(results)),
            ("Threads", threads_table(results)),
            ("Goals", goal_table(results)),
            ("Runs that were not whole", failures(results))):
        if text:
            parts += [f"### {title}", text]
    return "\n\n".join(parts) + "\n"
