"""The parts of bench/run that make figures and pictures of measurements."""

import errno
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(BENCH))

from runner import figures, goals, peers, plot, table  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def draw(series, **options):
    return ElementTree.fromstring(plot.lines("title", "x", "y", series, **options))


def heights(picture):
    return [[float(point.split(",")[1]) for point in line.get("points").split()]
            for line in picture.iter(SVG + "polyline")]


class Plot(unittest.TestCase):
    def test_ticks_cover_the_values_and_are_round(self):
        for low, high in [(2, 1000), (1, 1), (0.3, 7), (900, 18000), (0.02, 300000)]:
            for log in (True, False):
                with self.subTest(low=low, high=high, log=log):
                    found = plot.ticks(low, high, log)
                    self.assertLessEqual(found[0], low)
                    self.assertGreaterEqual(found[-1], high)
                    self.assertLessEqual(len(found), 14)
                    self.assertEqual(found, sorted(set(found)))

    def test_more_is_higher_and_to_the_right(self):
        picture = draw({"a": [(2, 4.0, 4.0, 4.0), (1000, 5.0, 4.5, 6.0)]})
        (first, second), = heights(picture)
        self.assertGreater(first, second)  # y grows downwards
        line = picture.find(SVG + "polyline").get("points").split()
        self.assertLess(float(line[0].split(",")[0]), float(line[1].split(",")[0]))

    def test_everything_lies_within_the_picture(self):
        for log_y in (True, False):
            picture = draw({str(n): [(2, 0.5 * n, 0.1, 700), (10**n, 700, 1, 700)]
                            for n in range(1, 7)}, log_y=log_y)
            for line in heights(picture):
                for height in line:
                    self.assertTrue(plot.TOP <= height <= plot.HEIGHT - plot.BOTTOM)

    def test_labels_do_not_cover_each_other(self):
        picture = draw({f"peer {n}": [(1, 5.0, 5, 5), (10, 5.0 + n / 1000, 5, 5)]
                        for n in range(9)})
        names = sorted(float(text.get("y")) for text in picture.iter(SVG + "text")
                       if (text.text or "").startswith("peer"))
        self.assertEqual(len(names), 9)
        for upper, lower in zip(names, names[1:]):
            self.assertGreaterEqual(lower - upper, plot.LABEL_HEIGHT - 0.1)
        self.assertTrue(0 < names[0] and names[-1] < plot.HEIGHT)

    def test_names_are_escaped(self):
        picture = draw({"<a & b>": [(1, 1, 1, 1), (2, 2, 2, 2)]})
        self.assertIn("<a & b>", [text.text for text in picture.iter(SVG + "text")])

    def test_one_point_is_drawn(self):
        self.assertEqual(len(list(draw({"a": [(1000, 3.5, 3.5, 3.5)]}).iter(SVG + "circle"))), 1)

    def test_nothing_is_refused(self):
        with self.assertRaises(ValueError):
            plot.lines("title", "x", "y", {"a": []})


PYTHON_SERVER = f"""#!{sys.executable}
import os, signal, socket, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("STUBBORN") else signal.SIG_DFL)
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
child = subprocess.Popen(["sleep", "600"])
open(os.environ["TOLD"], "w").write(f"{{child.pid}} {{os.environ['SCRATCH']}} "
                                    f"{{os.environ['THREADS']}} {{os.sched_getaffinity(0)}}")
time.sleep(600)
"""


def alive(pid):
    """Whether it runs; what has ended and waits for its parent does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Serving(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.peer = peers.Peer("trial", "Trial", folder=self.folder)

    def write_start(self, text):
        self.peer.start.write_text(text)
        self.peer.start.chmod(0o755)

    def environment(self, **more):
        return dict(os.environ, TOLD=str(self.folder / "told"), **more)

    def serve_once(self, **more):
        """(process id, port, what the server told in words)"""
        self.write_start(PYTHON_SERVER)
        with peers.serving(self.peer, self.environment(**more), cores={0}, threads=3) as served:
            pid, port = served
            until = time.monotonic() + 10
            while not (self.folder / "told").exists() and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.05)
            told = (self.folder / "told").read_text().split(" ", 3)
            self.assertTrue(alive(pid) and alive(int(told[0])))
            socket.create_connection(("127.0.0.1", port)).close()
        return pid, port, told

    def test_a_server_gets_its_settings_and_ends_with_its_children(self):
        pid, port, (child, scratch, threads, cores) = self.serve_once()
        self.assertEqual((threads, cores), ("3", "{0}"))
        self.assertFalse(alive(pid) or alive(child))
        self.assertFalse(os.path.exists(scratch))
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    def test_a_server_that_does_not_want_to_end_is_ended(self):
        pid, _, (child, *_) = self.serve_once(STUBBORN="1")
        self.assertFalse(alive(pid) or alive(child))

    def test_a_server_that_ends_at_once_is_told_with_its_last_words(self):
        self.write_start("#!/bin/sh\necho something >&2\necho no such thing >&2\nexit 3\n")
        with self.assertRaisesRegex(peers.Failed, "ended with 3: no such thing"):
            with peers.serving(self.peer, self.environment()):
                self.fail("it did not start")

    def test_a_version_is_one_line_and_a_missing_server_has_none(self):
        self.write_start("#!/bin/sh\necho 1.2\necho on 3\n")
        self.assertEqual(self.peer.version(self.environment()), "1.2 on 3")
        self.write_start("#!/bin/sh\nexit 1\n")
        self.assertIsNone(self.peer.version(self.environment()))

    def test_io_uring_is_refused_to_a_child_and_what_it_starts(self):
        program = ("import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
                   "print(libc.syscall(425, 8, 0), ctypes.get_errno())")
        done = subprocess.run(["sh", "-c", '"$0" -c "$1"', sys.executable, program], text=True,
                              capture_output=True, preexec_fn=peers.refuse_io_uring, check=True)
        self.assertEqual(done.stdout.split(), ["-1", str(errno.EPERM)])


def cost(core, process=None, whole=True):
    """A report of bench-load, as far as the tables read it."""
    return {"whole": whole, "per_second": 1000.0,
            "cpu": {"core": {"us_each": core}, "process": {"us_each": process or core / 2},
                    "machine_without_load": {"us_each": core * 3}}}


def steps(*pairs):
    return {"whole": True, "steps": [
        {"connections": count, "pss": pss, "anonymous": pss, "slab": 1000 * count,
         "slab_sockets": 500 * count, "tcp_buffers": 0, "page_tables": 8 * count}
        for count, pss in pairs]}


def results(**parts):
    whole = {"machine": {"processor": "P", "processors": 2, "memory_gib": 24, "kernel": "6",
                         "system": "S", "libc": "L", "commit": "abc", "date": "today"},
             "rounds": 3, "measure_ms": 2000, "ciphersuite": "TLS_X", "busy_before": 0.0,
             "versions": {"sluice": "1", "uws": "2"}, "absent": {"bun": "not installed"},
             "failures": [], "cpu": {}, "memory": {}, "threads": {}, "latency": {}, "steps": []}
    return whole | parts


THREE_ROUNDS = results(cpu={"echo-1": {
    # A noisy second round doubles both, and in the third uWebSockets lost something.
    "sluice": [cost(4.0), cost(8.0), cost(5.0)],
    "uws": [cost(6.0), cost(12.0), cost(1.0, whole=False)]}})


class Figures(unittest.TestCase):
    def test_a_ratio_is_taken_within_a_round_and_only_of_whole_ones(self):
        own, other = (figures.costs(THREE_ROUNDS, "echo-1", name) for name in ("sluice", "uws"))
        self.assertEqual(other, [6.0, 12.0, None])
        self.assertEqual(figures.ratios(other, own), [1.5, 1.5])
        self.assertEqual(figures.middle(own), 5.0)

    def test_without_a_core_the_machine_less_the_load_counts(self):
        report = cost(2.0)
        del report["cpu"]["core"]
        self.assertEqual(figures.costs(results(cpu={"echo-1": {"uws": [report]}}), "echo-1", "uws"),
                         [6.0])

    def test_what_was_not_measured_has_no_figure(self):
        self.assertEqual(figures.costs(results(), "echo-1", "uws"), [])
        self.assertIsNone(figures.middle([None]))
        self.assertIsNone(figures.slope(steps((0, 1), (1000, 2))["steps"], "pss"))

    def test_a_slope_is_from_the_first_step_to_ten_thousand(self):
        found = steps((0, 0), (1000, 1000000), (10000, 3250000), (18000, 99000000))["steps"]
        self.assertEqual(figures.slope(found, "pss"), 250)

    def test_figures_have_three_digits(self):
        shown = [figures.figure(value) for value in (None, 0.0123, 1.239, 12.39, 123.9, 12390.0)]
        self.assertEqual(shown, [figures.NOTHING, "0.01", "1.24", "12.4", "124", "12,390"])


class Goals(unittest.TestCase):
    def value(self, words, measured):
        return next((goal.limit, value) for goal, value in goals.measured(measured)
                    if words in goal.text)

    def test_a_ratio_to_another_server(self):
        limit, value = self.value("echo, depth 1: times uWebSockets.js", THREE_ROUNDS)
        self.assertEqual(limit, 0.80)
        self.assertAlmostEqual(value, 4 / 6)

    def test_memory(self):
        measured = results(memory={
            "ws": {"sluice": [steps((0, 8 << 20), (1000, 9 << 20), (10000, (9 << 20) + 1800000))]},
            "wss": {"sluice": [steps((0, 0), (1000, 0), (10000, 90000000))],
                    "uws": [steps((0, 0), (1000, 0), (10000, 225000000))]}})
        self.assertEqual(self.value("ws: user memory a", measured), (300, 200))
        self.assertEqual(self.value("wss: user memory a", measured), (16384, 10000))
        self.assertEqual(self.value("wss: user memory, times", measured), (0.60, 0.4))
        self.assertEqual(self.value("before the first", measured), (16, 8))

    def test_threads_and_latency(self):
        def late(p99):
            return {"whole": True, "latency_us": {"p99": p99}}
        measured = results(
            threads={"fanout-10x100, threads: 1": {"sluice": [cost(4.0), cost(8.0)]},
                     "fanout-10x100, threads: 2": {"sluice": [cost(4.4), cost(8.8)]}},
            latency={"fanout-10x100": {"sluice": [late(90), late(180)],
                                       "uws": [late(100), late(200)]}})
        self.assertAlmostEqual(self.value("two threads", measured)[1], 1.1)
        self.assertAlmostEqual(self.value("p99", measured)[1], 0.9)

    def test_a_run_of_sluice_that_was_not_whole_counts(self):
        failure = {"what": "echo-1", "reason": "lost 1"}
        measured = results(failures=[failure | {"peer": "sluice-loops"}, failure | {"peer": "uws"}])
        self.assertEqual(self.value("anything lost", measured), (0, 1))

    def test_what_was_not_measured_is_not_reached_nor_missed(self):
        page = table.goal_table(results())
        self.assertNotIn("uWebSockets", page)


class Tables(unittest.TestCase):
    def test_ratios_stand_with_their_spread(self):
        lines = table.ratio_table(THREE_ROUNDS, False).splitlines()
        self.assertEqual(lines[0], "|  | echo, depth 1 |")
        self.assertIn("| Sluice | **1.00** (1.00–1.00) |", lines)
        self.assertIn("| uWebSockets.js | **1.50** (1.50–1.50) |", lines)

    def test_the_page_tells_what_makes_figures_doubtful(self):
        measured = results(busy_before=0.5, failures=[
            {"peer": "uws", "what": "echo-1", "reason": "lost 3"}])
        page = table.page(measured)
        for words in ("not quiet", "50%", "uWebSockets.js, echo-1: lost 3", "Bun (not installed)",
                      "abc", "2 × P"):
            self.assertIn(words, page)


class Program(unittest.TestCase):
    """bench/run, from a copy, so that no file of the repository changes."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        shutil.copy(BENCH / "run", self.folder)
        shutil.copytree(BENCH / "runner", self.folder / "runner",
                        ignore=shutil.ignore_patterns("__pycache__"))

    def run_it(self, *arguments):
        return subprocess.run([sys.executable, self.folder / "run", *map(str, arguments)],
                              capture_output=True, text=True, check=False, timeout=60)

    def test_earlier_results_are_published_again(self):
        (self.folder / "README.md").write_text(
            "before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
        (self.folder / "results.json").write_text(json.dumps(results(
            cpu={"fanout-1x1000": {"sluice": [cost(4.0)], "uws": [cost(6.0)]}},
            memory={"ws": {"sluice": [steps((0, 1 << 20), (1000, 2 << 20), (9000, 3 << 20))]}},
            steps=[1000, 9000])))
        for _ in range(2):  # the second time it finds its own text
            done = self.run_it("--from", self.folder / "results.json", "--out", self.folder / "out",
                               "--publish")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        readme = (self.folder / "README.md").read_text()
        self.assertTrue(readme.startswith("before\n") and readme.endswith("\nafter\n"))
        self.assertNotIn("old", readme)
        self.assertEqual(readme.count("**1.50**"), 1)
        for name in ("cpu.svg", "memory.svg"):
            self.assertIn(f"({name})", readme)
            self.assertIn("Sluice", (self.folder / name).read_text())

    def test_a_missing_build_is_told(self):
        done = self.run_it("--build", self.folder / "nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere/bin/sluice is not there", done.stderr)

    def test_arguments_are_checked(self):
        for words, arguments in [("--only", ["--only", "apache"]), ("--case", ["--case", "x"]),
                                 ("--rounds", ["--rounds", "0"]),
                                 ("--connections", ["--connections", "many"])]:
            with self.subTest(words=words):
                done = self.run_it(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(words, done.stderr.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
