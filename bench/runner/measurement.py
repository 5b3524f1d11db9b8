"""Runs the load against servers and keeps what it reported."""

import contextlib
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

from . import cases, peers

LOAD_SECONDS_MAX = 600


class Settings:
    """How a run measures; bench/run fills it from the command line."""

    def __init__(self, build, quick=False):
        self.build = pathlib.Path(build)
        self.server_core = 0
        self.load_core = 1
        self.rounds = 2 if quick else 5
        self.warmup_ms = 300 if quick else 1000
        self.measure_ms = 700 if quick else 2000
        self.settle_ms = 500 if quick else 2000
        self.steps = [500, 1000, 2000] if quick else [1000, 2000, 8000, 10000, 18000]
        self.certificate = None

    @property
    def load(self):
        return self.build / "bin" / "bench-load"

    @property
    def environment(self):
        return os.environ | {"SLUICE_BIN": str(self.build / "bin" / "sluice"),
                             "BENCH_BIN": str(self.build / "bin")}


def make_certificate(folder):
    """A key and a certificate signed by itself, in `folder`: the same for all servers."""
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    os.chmod(folder, 0o755)  # nginx's workers are another user
    return certificate, key


def run_load(settings, arguments, cores):
    """One run of bench-load. Returns its report with "whole": whether it ended with 0."""
    done = subprocess.run([settings.load, *arguments], capture_output=True, text=True, check=False,
                          timeout=LOAD_SECONDS_MAX,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores))
    if not done.stdout.strip():
        said = " ".join(done.stderr.split())
        raise peers.Failed(said or f"the load ended with {done.returncode}")
    report = json.loads(done.stdout)
    report["whole"] = done.returncode == 0
    return report


def url(case_tls, port, path):
    return f"{'wss' if case_tls else 'ws'}://127.0.0.1:{port}{path}"


def measure_case(settings, peer, case, threads=1, pinned=True, extra=()):
    """One measurement of one case with a server of its own. Two cores: the server has one and the
    load the other; not pinned, both use both."""
    server = {settings.server_core} if pinned else {settings.server_core, settings.load_core}
    load = {settings.load_core} if pinned else server
    certificate = settings.certificate if case.tls else None
    longer = 3 if peer.slow else 1
    with peers.serving(peer, settings.environment, server, certificate, threads) as (pid, port):
        arguments = [case.mode, url(case.tls, port, case.path), *case.arguments,
                     "--pid", str(pid), "--warmup-ms", str(settings.warmup_ms * longer),
                     "--measure-ms", str(settings.measure_ms * longer),
                     "--drain-ms", str(3000 * longer), "--patience-ms", "30000", *extra]
        if pinned:
            arguments += ["--core", str(settings.server_core)]
        if case.tls:
            arguments += ["--ciphersuites", cases.CIPHERSUITE]
        return run_load(settings, arguments, load)


def measure_memory(settings, peer, tls, steps):
    """Memory of idle connections, a hundred in a room."""
    certificate = settings.certificate if tls else None
    with peers.serving(peer, settings.environment, {settings.server_core}, certificate,
                       connections=steps[-1] + 100) as (pid, port):
        arguments = ["idle", url(tls, port, "/room/{room}"),
                     "--rooms", str(max(1, steps[-1] // 100)), "--steps", ",".join(map(str, steps)), "--settle-ms", str(settings.settle_ms),
                     "--pid", str(pid), "--patience-ms", "60000"]
        return run_load(settings, arguments, {settings.load_core})


def check_cores(settings):
    """The server and the load must not share a processor."""
    wanted = {settings.server_core, settings.load_core}
    allowed = os.sched_getaffinity(0)
    if len(wanted) < 2 or not wanted <= allowed:
        raise peers.Failed("the server and the load need a processor each: --server-core and "
                           f"--load-core out of {sorted(allowed)}, and not the same")


def busy_share(core, seconds=1.0):
    """How busy a processor is with others' work, 0 to 1."""
    def idle():
        with open("/proc/stat", encoding="ascii") as file:
            fields = next(line for line in file if line.startswith(f"cpu{core} ")).split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")

    before, start = idle(), time.monotonic()
    time.sleep(seconds)
    return min(1.0, max(0.0, 1 - (idle() - before) / (time.monotonic() - start)))


def machine():
    """What the figures hold for."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "Linux"
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=peers.BENCH,
                            capture_output=True, text=True, check=False).stdout.strip()
    return {"processor": names[0] if names else platform.machine(), "processors": os.cpu_count(),
            "memory_gib": round(memory), "kernel": platform.release(), "system": system,
            "libc": " ".join(platform.libc_ver()), "commit": commit,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}


class Run:
    """A whole run: what was measured, as it is kept in results.json."""

    def __init__(self, settings, chosen):
        self.settings = settings
        self.peers = []
        self.results = {"machine": machine(), "rounds": settings.rounds, "basis": "core",
                        "warmup_ms": settings.warmup_ms, "measure_ms": settings.measure_ms,
                        "settle_ms": settings.settle_ms, "ciphersuite": cases.CIPHERSUITE,
                        "busy_before": round(busy_share(settings.server_core), 3),
                        "versions": {}, "absent": {}, "failures": [],
                        "cpu": {}, "memory": {}, "threads": {}, "latency": {}, "steps": []}
        for peer in chosen:
            version = peer.version(settings.environment)
            if version is None:
                self.results["absent"][peer.name] = "not installed"
            else:
                self.results["versions"][peer.name] = version
                self.peers.append(peer)

    def attempt(self, kind, peer, what, measure):
        """Measures and keeps the report; a failure is kept in its place and the run goes on."""
        print(f"  {what}: {peer.title}", file=sys.stderr, flush=True)
        report = None
        try:
            report = measure()
            if not report["whole"]:
                self.fail(peer, what, faults_of(report))
        except (peers.Failed, subprocess.TimeoutExpired) as failure:
            self.fail(peer, what, str(failure))
        self.results[kind].setdefault(what, {}).setdefault(peer.name, []).append(report)
        return report

    def fail(self, peer, what, reason):
        print(f"    {reason}", file=sys.stderr)
        self.results["failures"].append({"peer": peer.name, "what": what, "reason": reason})

    def measure_cpu(self, chosen_cases):
        """Interleaved: within a round, all servers do a case one after another, and the first one
        changes, so that slow changes of the machine fall on all alike."""
        for number in range(self.settings.rounds):
            print(f"Round {number + 1} of {self.settings.rounds}", file=sys.stderr)
            for case in chosen_cases:
                able = [peer for peer in self.peers if peer.tls or not case.tls]
                turn = number % len(able) if able else 0
                for peer in able[turn:] + able[:turn]:
                    self.attempt("cpu", peer, case.name,
                                 lambda p=peer, c=case: measure_case(self.settings, p, c))

    def measure_memory(self, tls):
        name = "wss" if tls else "ws"
        steps = self.settings.steps
        self.results["steps"] = steps
        for peer in self.peers:
            if peer.tls or not tls:
                self.attempt("memory", peer, name,
                             lambda p=peer: measure_memory(self.settings, p, tls, steps))

    def measure_threads(self, case):
        """Sluice with one and two threads; both share both processors with the load."""
        sluice = [peer for peer in self.peers if peer.name == peers.SLUICE]
        for _ in range(self.settings.rounds):
            for peer in sluice:
                for threads in (1, 2):
                    self.attempt("threads", peer, f"{case.name}, threads: {threads}",
                                 lambda p=peer, t=threads: measure_case(
                                     self.settings, p, case, threads=t, pinned=False))

    def half_load(self, case):
        """Messages a second that are half of what the slowest of Sluice and uWebSockets did."""
        rates = []
        for name in (peers.SLUICE, peers.UWS):
            reports = [report for report in self.results["cpu"].get(case.name, {}).get(name, [])
                       if report]
            if reports:
                rates.append(max(report["per_second"] for report in reports) / case.members)
        return int(min(rates) / 2) if rates else 0

    def measure_latency(self, case, names):
        """Open loop: messages leave when they are due, whether the server keeps up or not."""
        rate = self.half_load(case)
        self.results["latency_rate"] = rate
        able = [peer for peer in self.peers if peer.name in names]
        for number in range(self.settings.rounds if rate else 0):
            turn = number % len(able)
            for peer in able[turn:] + able[:turn]:
                self.attempt("latency", peer, case.name, lambda p=peer: measure_case(
                    self.settings, p, case, extra=["--rate", str(rate)]))


def faults_of(report):
    parts = [f"{name} {report[name]}" for name in ("lost", "repeated", "out_of_order", "foreign")
             if report.get(name)]
    connections = report["connections"]
    if connections["closed_by_server"]:
        parts.append(f"{connections['closed_by_server']} connections closed by the server"
                     f" ({connections['close_code'] or 'no code'})")
    if connections["first_error"]:
        parts.append(connections["first_error"])
    return ", ".join(parts) or "nothing was measured"


@contextlib.contextmanager
def saved(run, path):
    """Writes the results even when the run is interrupted."""
    try:
        yield run
    finally:
        path.write_text(json.dumps(run.results, indent=1) + "\n")
