"""The servers, and how one is started and ended for a measurement."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parent.parent


class Peer:
    """A server that bench/peers/NAME/start (or bench/floor/start) starts."""

    def __init__(self, name, title, tls=True, slow=False, refuse_io_uring=False, folder=None):
        self.name = name
        self.title = title
        self.tls = tls  # whether it is measured with TLS, too
        self.slow = slow  # one that needs longer for as many messages
        self.refuse_io_uring = refuse_io_uring
        self.start = BENCH / (folder or f"peers/{name}") / "start"

    def version(self, environment):
        """Its version, or None when it is not installed."""
        done = subprocess.run([self.start, "--version"], env=environment, capture_output=True,
                              text=True, check=False)
        return " ".join(done.stdout.split()) if done.returncode == 0 else None


SLUICE = "sluice"
FLOOR = "floor"
UWS = "uws"

PEERS = [
    Peer(SLUICE, "Sluice"),
    Peer("sluice-loops", "Sluice, io_uring refused", refuse_io_uring=True, folder="peers/sluice"),
    Peer(FLOOR, "bare epoll loop", tls=False, folder="floor"),
    Peer(UWS, "uWebSockets.js"),
    Peer("bun", "Bun"),
    Peer("ws", "ws on Node.js"),
    Peer("lws", "libwebsockets"),
    Peer("nchan", "nginx with Nchan"),
    Peer("daphne", "Daphne with Channels", tls=False, slow=True),
]


class Failed(Exception):
    """A server or the load could not do what was asked; the text says why."""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def refuse_io_uring():
    """Makes io_uring_setup, _enter and _register fail with EPERM in this process and its children,
    as container runtimes do."""
    load, jump_ge, jump_gt, answer = 0x20, 0x35, 0x25, 0x06
    allow, eperm = 0x7FFF0000, 0x00050001
    code = [(load, 0, 0, 0), (jump_ge, 0, 2, 425), (jump_gt, 1, 0, 427), (answer, 0, 0, eperm),
            (answer, 0, 0, allow)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    if (libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0
            or libc.prctl(set_seccomp, mode_filter, ctypes.create_string_buffer(program)) != 0):
        raise OSError(ctypes.get_errno(), "io_uring can't be refused")


def wait_for_port(port, process, log):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Failed(f"ended with {process.returncode}: {last_line(log)}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Failed(f"does not listen: {last_line(log)}")


def last_line(log):
    lines = pathlib.Path(log).read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def end(process):
    """Ends the server and what it started: it leads a process group of its own."""
    for how, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    # What it left behind must be gone, too, before another one is measured.
    until = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.01)


@contextlib.contextmanager
def serving(peer, environment, cores=None, certificate=None, threads=1, connections=19000):
    """Starts the server on `cores` (None: all); yields its process id and port."""
    port = free_port()

    def prepare():
        if cores is not None:
            os.sched_setaffinity(0, cores)
        if peer.refuse_io_uring:
            refuse_io_uring()

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        extra = {"PORT": str(port), "SCRATCH": scratch, "THREADS": str(threads),
                 "CONNECTIONS": str(connections)}
        if certificate:
            extra |= {"CERT": certificate[0], "KEY": certificate[1]}
        log = os.path.join(scratch, "log")
        with open(log, "wb") as output:
            process = subprocess.Popen([peer.start], env=environment | extra, stdout=output,
                                       stderr=output, stdin=subprocess.DEVNULL,
                                       start_new_session=True, preexec_fn=prepare)
        try:
            wait_for_port(port, process, log)
            yield process.pid, port
        finally:
            end(process)
