"""What is measured: the load of each case."""


class Case:
    """A load for bench-load, and the words for the table."""

    def __init__(self, name, title, mode, path, arguments, tls=False):
        self.name = name
        self.title = title
        self.mode = mode
        self.path = path
        self.arguments = arguments
        self.tls = tls


def echo(name, title, depth, tls=False):
    return Case(name, title, "echo", "/echo", ["--connections", "100", "--depth", str(depth)], tls)


def fanout(name, title, rooms, members, publishers=1, tls=False):
    case = Case(name, title, "fanout", "/room/{room}",
                ["--rooms", str(rooms), "--members", str(members),
                 "--publishers", str(publishers)], tls)
    case.members = members
    return case


CPU = [
    fanout("fanout-1x1000", "fan-out, 1,000 in 1 room", 1, 1000),
    fanout("fanout-10x100", "1,000 in 10 rooms", 10, 100),
    fanout("fanout-100x10", "1,000 in 100 rooms", 100, 10),
    fanout("fanout-50x2", "100 in 50 rooms", 50, 2),
    fanout("publishers", "1,000 in 10 rooms, 10 publishers each", 10, 100, publishers=10),
    echo("echo-1", "echo, depth 1", 1),
    echo("echo-16", "echo, depth 16", 16),
    Case("handshake", "handshake and close", "handshakes", "/echo", ["--connections", "32"]),
]

TLS = [
    fanout("tls-fanout-10x100", "wss: fan-out, 1,000 in 10 rooms", 10, 100, tls=True),
    echo("tls-echo-16", "wss: echo, depth 16", 16, tls=True),
    Case("tls-handshake", "wss: handshake and close", "handshakes", "/echo",
         ["--connections", "32"], tls=True),
]

# Members of a room, for the plot of the cost of a delivery.
ROOM_SIZES = {"fanout-50x2": 2, "fanout-100x10": 10, "fanout-10x100": 100, "fanout-1x1000": 1000}

SMOKE = [
    fanout("fanout-2x10", "fan-out, 20 in 2 rooms", 2, 10, publishers=2),
    echo("echo-4", "echo, depth 4", 4),
]

# The same suite for every server, so that a ratio compares servers and not ciphers.
CIPHERSUITE = "TLS_AES_128_GCM_SHA256"
