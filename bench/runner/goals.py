"""What Sluice is to reach, as a ratio to another server or as a figure, and what it did."""

from . import cases, figures, peers


class Goal:
    def __init__(self, text, limit, value, unit=""):
        self.text = text
        self.limit = limit
        self.value = value  # of the results; None when it was not measured
        self.unit = unit
        self.limit_text = self.show(limit)

    def show(self, value):
        digits = f"{value:.4f}" if 0 < value < 0.1 else figures.figure(value)
        return f"{digits if value else 0}{self.unit}"


def ratio(case, other, name=peers.SLUICE):
    """The median of the rounds' ratios of `name` to `other`."""
    def value(results):
        return figures.middle(figures.ratios(figures.costs(results, case, name),
                                         figures.costs(results, case, other)))
    return value


def memory(kind, name=peers.SLUICE):
    return lambda results: figures.slope(figures.memory_steps(results, kind, name),
                                         "anonymous")


def base(results):
    steps = figures.memory_steps(results, "ws", peers.SLUICE)
    return steps[0]["pss"] / 2**20 if steps else None


def memory_ratio(results):
    own, other = memory("wss")(results), memory("wss", peers.UWS)(results)
    return own / other if own is not None and other else None


def threads(results):
    one, two = ([cost for what in results["threads"] if what.endswith(f"threads: {count}")
                 for cost in figures.costs(results, what, peers.SLUICE, "threads")]
                for count in (1, 2))
    return figures.middle(figures.ratios(two, one))


def latency(results):
    p99 = {}
    for by_name in results["latency"].values():
        for name in (peers.SLUICE, peers.UWS):
            p99[name] = [report and report["latency_us"]["p99"] for report in by_name.get(name, [])]
    return figures.middle(figures.ratios(p99.get(peers.SLUICE, []), p99.get(peers.UWS, [])))


def not_whole(results):
    """Of Sluice's runs, those that lost, repeated, or mixed up anything, or did not end well."""
    return sum(entry["peer"].startswith(peers.SLUICE) for entry in results["failures"])


def ratio_goals():
    title = {case.name: case.title for case in (*cases.CPU, *cases.TLS)}
    other_title = {peers.UWS: "uWebSockets.js", peers.FLOOR: "the floor",
                   "daphne": "Daphne with Channels"}
    for name, case, other, limit in (
            (peers.SLUICE, "fanout-1x1000", peers.UWS, 0.72),
            (peers.SLUICE, "fanout-1x1000", peers.FLOOR, 0.80),
            (peers.SLUICE, "fanout-10x100", peers.UWS, 0.72),
            (peers.SLUICE, "fanout-10x100", peers.FLOOR, 0.80),
            (peers.SLUICE, "fanout-50x2", peers.FLOOR, 1.00),
            (peers.SLUICE, "publishers", peers.UWS, 0.95),
            (peers.SLUICE, "echo-1", peers.UWS, 0.80),
            (peers.SLUICE, "echo-1", peers.FLOOR, 1.00),
            (peers.SLUICE, "echo-16", peers.UWS, 0.42),
            (peers.SLUICE, "echo-16", peers.FLOOR, 1.02),
            ("sluice-loops", "fanout-1x1000", peers.UWS, 1.02),
            ("sluice-loops", "fanout-10x100", peers.UWS, 1.02),
            ("sluice-loops", "echo-16", peers.UWS, 0.50),
            (peers.SLUICE, "tls-fanout-10x100", peers.UWS, 1.10),
            (peers.SLUICE, "tls-echo-16", peers.UWS, 1.15),
            (peers.SLUICE, "fanout-10x100", "daphne", 1 / 60)):
        refused = "io_uring refused, " if name != peers.SLUICE else ""
        yield Goal(f"{refused}{title[case]}: times {other_title[other]}", limit,
                   ratio(case, other, name))


GOALS = [
    *ratio_goals(),
    Goal("ws: user memory a connection in a room", 300, memory("ws"), " B"),
    Goal("wss: user memory a connection in a room", 16384, memory("wss"), " B"),
    Goal("wss: user memory, times uWebSockets.js", 0.60, memory_ratio),
    Goal("memory before the first client", 16, base, " MiB"),
    Goal("two threads: times the cost of one", 1.18, threads),
    Goal("p99 at half load: times uWebSockets.js", 1.00, latency),
    Goal("Sluice's runs with anything lost, repeated, out of order or closed", 0, not_whole),
]


def measured(results):
    """Each goal with what was measured."""
    return [(goal, goal.value(results)) for goal in GOALS]
