"""The load generator against the floor, which does nothing wrong, and against a peer that does.

test_load.py LOAD FLOOR; ends with 1 when a case fails.
"""

import contextlib
import json
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import time
import unittest

LOAD, FLOOR = sys.argv[1:3]
PEER = pathlib.Path(__file__).with_name("faulty_peer.py")
# Faults that would show in the first messages need no longer run than this.
SHORT = ["--warmup-ms", "0", "--measure-ms", "400", "--drain-ms", "1000"]


@contextlib.contextmanager
def peer(*arguments):
    """A faulty peer; yields (port, process id)."""
    process = subprocess.Popen([sys.executable, PEER, *arguments], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def floor():
    port = free_port()
    process = subprocess.Popen([FLOOR, str(port)])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield port, process.pid
    finally:
        process.kill()
        process.wait(10)


def load(mode, url, *arguments, limit=60, **options):
    """(exit status, report or None, what it complained of)"""
    done = subprocess.run([LOAD, mode, url, *map(str, arguments)], capture_output=True, text=True,
                          timeout=limit, check=False, **options)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def faults(report):
    return {name: report[name] for name in ("lost", "repeated", "out_of_order", "foreign")}


CLEAN = {"lost": 0, "repeated": 0, "out_of_order": 0, "foreign": 0}


class Faults(unittest.TestCase):
    """Each is found, counted once, and nothing else is."""

    def fan_out(self, *arguments, depth=4):
        with peer(*arguments) as (port, pid):
            return load("fanout", f"ws://127.0.0.1:{port}/room/{{room}}", "--members", 3,
                        "--depth", depth, "--pid", pid, *SHORT)

    def expect(self, fault, **counts):
        status, report, _ = self.fan_out("--fault", fault)
        self.assertEqual(faults(report), CLEAN | counts)
        self.assertEqual(status, 1)

    def test_a_peer_without_faults_has_none(self):
        status, report, complaint = self.fan_out()
        self.assertEqual((status, faults(report), complaint), (0, CLEAN, ""))
        self.assertEqual(report["received"], 3 * report["sent"])
        self.assertGreater(report["sent"], 10)
        self.assertGreater(report["measured"], 0)
        self.assertEqual(report["connections"]["opened"], 3)

    def test_a_lost_message(self):
        self.expect("lose", lost=1)

    def test_a_repeated_message(self):
        self.expect("repeat", repeated=1)

    def test_two_messages_swapped(self):
        self.expect("swap", out_of_order=1)

    def test_a_corrupt_message_is_foreign_and_the_true_one_lost(self):
        self.expect("corrupt", foreign=1, lost=1)

    def test_a_message_that_nobody_sent(self):
        self.expect("stray", foreign=1)

    def test_a_closed_connection(self):
        status, report, _ = self.fan_out("--fault", "close")
        self.assertEqual(status, 1)
        self.assertEqual(report["connections"]["closed_by_server"], 1)
        self.assertEqual(report["connections"]["close_code"], 1013)
        self.assertEqual(report["connections"]["first_error"], "the server closed with 1013")
        self.assertGreater(report["lost"], 0)

    def test_a_publisher_that_hears_nothing_goes_on(self):
        with peer("--fault", "stuck") as (port, _):
            status, report, _ = load("fanout", f"ws://127.0.0.1:{port}/room/a", "--members", 2,
                                     "--warmup-ms", 0, "--measure-ms", 2600, "--drain-ms", 100)
        stalls = report["stalls"]
        self.assertIn(stalls, (1, 2))
        self.assertEqual((status, report["sent"], report["lost"]), (1, 7 + stalls, 2 + 2 * stalls))

    def test_masked_frames_are_refused(self):
        status, report, _ = self.fan_out("--fault", "masked")
        self.assertEqual((status, report["received"]), (1, 0))
        self.assertGreater(report["connections"]["broken"], 0)
        self.assertIn("masked", report["connections"]["first_error"])

    def test_reserved_bits_are_refused(self):
        _, report, _ = self.fan_out("--fault", "reserved")
        self.assertIn("reserved bit", report["connections"]["first_error"])


class Handshakes(unittest.TestCase):
    def expect(self, fault, words):
        with peer("--fault", fault) as (port, _):
            status, report, complaint = load("echo", f"ws://127.0.0.1:{port}/echo", "--connections",
                                             2, "--patience-ms", 300, *SHORT)
        self.assertEqual((status, report), (1, None))
        self.assertIn(words, complaint)

    def test_a_refusal_is_told_with_its_status(self):
        self.expect("refuse", "503 Service Unavailable")

    def test_a_wrong_accept_is_told(self):
        self.expect("key", "Sec-WebSocket-Accept is missing or wrong")

    def test_a_silent_server_is_given_up(self):
        self.expect("silent", "nothing came for --patience-ms")

    def test_a_closed_port_is_told(self):
        status, _, complaint = load("echo", f"ws://127.0.0.1:{free_port()}/echo", *SHORT)
        self.assertEqual(status, 1)
        self.assertIn("connections are open", complaint)


class Frames(unittest.TestCase):
    """However a server cuts them, messages are read whole."""

    def clean_echo(self, *arguments, size=64, depth=2, tls=(), binary=(), seconds=()):
        scheme = "wss" if tls else "ws"
        with peer(*arguments, *tls) as (port, _):
            status, report, complaint = load(
                "echo", f"{scheme}://127.0.0.1:{port}/echo", "--connections", 2, "--size", size,
                "--depth", depth, *binary, *(seconds or SHORT))
        self.assertEqual((status, complaint), (0, ""))
        self.assertEqual(faults(report), CLEAN)
        self.assertEqual(report["received"], report["sent"])
        self.assertGreater(report["received"], 0)
        return report

    def test_frames_in_pieces_of_one_octet(self):
        self.clean_echo("--pieces", "1")

    def test_frames_in_pieces_that_end_within_a_length_or_a_later_frame(self):
        self.clean_echo("--pieces", "7", size=200)
        self.clean_echo("--together", "--pieces", "100", depth=16)
        self.clean_echo("--together", "--pieces", "70003", size=65536, depth=4)

    def test_lengths_of_two_and_eight_octets(self):
        for size in (125, 126, 65535, 65536, 300000):
            with self.subTest(size=size):
                self.clean_echo(size=size)

    def test_fragments_with_pings_between(self):
        report = self.clean_echo("--fragments")
        self.assertEqual(report["connections"]["pings"], report["received"])

    def test_fragments_in_pieces(self):
        self.clean_echo("--fragments", "--pieces", "3")

    def test_a_ping_before_the_first_message(self):
        self.assertEqual(self.clean_echo("--ping")["connections"]["pings"], 2)

    def test_binary_and_unicode(self):
        self.clean_echo(binary=["--binary"])
        self.clean_echo(binary=["--unicode"])

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                            "/CN=localhost", "-keyout", key, "-out", cert],
                           check=True, capture_output=True)
            tls = ["--tls", cert, key]
            report = self.clean_echo(tls=tls, binary=["--ciphersuites", "TLS_AES_128_GCM_SHA256"])
            self.assertEqual(report["connections"]["tls_cipher"], "TLS_AES_128_GCM_SHA256")
            self.assertEqual(report["connections"]["tls_version"], "TLSv1.3")
            self.clean_echo("--pieces", "5", tls=tls)
            self.clean_echo(size=300000, tls=tls)
            with peer(*tls) as (port, _):
                status, _, complaint = load("echo", f"wss://127.0.0.1:{port}/echo",
                                            "--ciphersuites", "TLS_NONE", *SHORT)
            self.assertEqual(status, 1)
            self.assertIn("TLS_NONE", complaint)


class Floor(unittest.TestCase):
    def test_echo_counts_and_costs(self):
        with floor() as (port, pid):
            status, report, _ = load("echo", f"ws://127.0.0.1:{port}/echo", "--connections", 20,
                                     "--depth", 16, "--pid", pid, "--warmup-ms", 100,
                                     "--measure-ms", 500)
        self.assertEqual((status, faults(report)), (0, CLEAN))
        self.assertGreater(report["cpu"]["process"]["seconds"], 0)
        self.assertGreater(report["cpu"]["machine_without_load"]["us_each"], 0)
        latency = report["latency_us"]
        self.assertGreater(latency["p50"], 0)
        self.assertLessEqual(latency["p50"], latency["p99"])
        self.assertLessEqual(latency["p99"], latency["max"])
        self.assertEqual(latency["count"], report["measured"])

    def test_rooms_do_not_hear_each_other(self):
        with floor() as (port, pid):
            status, report, _ = load("fanout", f"ws://127.0.0.1:{port}/room/{{room}}", "--rooms", 5,
                                     "--members", 20, "--publishers", 4, "--pid", pid,
                                     "--warmup-ms", 100, "--measure-ms", 500)
        self.assertEqual((status, faults(report)), (0, CLEAN))
        self.assertEqual(report["received"], 20 * report["sent"])

    def test_large_messages_meet_full_sockets(self):
        with floor() as (port, _):
            status, report, _ = load("fanout", f"ws://127.0.0.1:{port}/room/a", "--members", 10,
                                     "--size", 1 << 20, "--depth", 2, "--warmup-ms", 0,
                                     "--measure-ms", 500)
        self.assertEqual((status, faults(report)), (0, CLEAN))

    def test_an_open_loop_keeps_its_rate(self):
        with floor() as (port, _):
            status, report, _ = load("fanout", f"ws://127.0.0.1:{port}/room/a", "--members", 10,
                                     "--publishers", 5, "--rate", 500, "--warmup-ms", 0,
                                     "--measure-ms", 1000)
        self.assertEqual((status, faults(report)), (0, CLEAN))
        self.assertAlmostEqual(report["sent"], 500, delta=50)

    def test_idle_connections_are_measured_at_each_step(self):
        with floor() as (port, pid):
            status, report, _ = load("idle", f"ws://127.0.0.1:{port}/room/{{room}}", "--rooms", 7,
                                     "--steps", "100,1000", "--settle-ms", 200, "--measure-ms",
                                     100, "--addresses", 3, "--pid", pid)
        self.assertEqual(status, 0)
        self.assertEqual([step["connections"] for step in report["steps"]], [0, 100, 1000])
        for step in report["steps"]:
            self.assertGreaterEqual(step["tcp_sockets"], 2 * step["connections"])
            self.assertGreater(step["pss"], 0)
        self.assertIn("process", report["cpu"])

    def test_idle_connections_are_held_until_told(self):
        with floor() as (port, pid):
            process = subprocess.Popen(
                [LOAD, "idle", f"ws://127.0.0.1:{port}/echo", "--steps", "50", "--settle-ms", "50",
                 "--measure-ms", "50", "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True)
            json.loads(process.stdout.readline())
            held = len(os.listdir(f"/proc/{pid}/fd"))
            process.communicate("", 10)
            self.assertGreaterEqual(held, 50)
            self.assertEqual(process.returncode, 0)

    def test_handshakes_are_counted(self):
        with floor() as (port, pid):
            status, report, _ = load("handshakes", f"ws://127.0.0.1:{port}/echo", "--connections",
                                     16, "--pid", pid, "--warmup-ms", 50, "--measure-ms", 400)
        self.assertEqual(status, 0)
        self.assertGreater(report["measured"], 100)
        self.assertGreaterEqual(report["connections"]["opened"], report["measured"])
        self.assertEqual(report["connections"]["failed"], 0)

    def test_a_server_that_dies_is_told(self):
        with floor() as (port, pid):
            process = subprocess.Popen(
                [LOAD, "echo", f"ws://127.0.0.1:{port}/echo", "--connections", "5", "--warmup-ms",
                 "0", "--measure-ms", "3000"], stdout=subprocess.PIPE, text=True)
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            until = time.monotonic() + 10
            while len(os.listdir(f"/proc/{pid}/fd")) < descriptors + 5 and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(1)  # for the handshakes of what is connected
            os.kill(pid, 9)
            report = json.loads(process.communicate(timeout=20)[0])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(report["connections"]["closed_by_server"], 5)


class Arguments(unittest.TestCase):
    URL = "ws://127.0.0.1:1/echo"

    def refuse(self, words, *arguments, **options):
        done = subprocess.run([LOAD, *arguments], capture_output=True, text=True, timeout=10,
                              check=False, **options)
        self.assertIn(words, done.stderr)
        self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_every_argument_is_checked(self):
        for words, arguments in [
                ("usage:", []),
                ("'sing' is none of echo", ["sing", self.URL]),
                ("begins neither with ws://", ["echo", "http://127.0.0.1:1/"]),
                ("no loopback address", ["echo", "ws://10.0.0.1:1/"]),
                ("no loopback address", ["echo", "ws://localhost:1/"]),
                ("no address with a port", ["echo", "ws://127.0.0.1/"]),
                ("is no port", ["echo", "ws://127.0.0.1:65536/"]),
                ("has no path", ["echo", "ws://127.0.0.1:1"]),
                ("must be escaped", ["echo", "ws://127.0.0.1:1/a b"]),
                ("the path of", ["echo", "ws://127.0.0.1:1/" + "a" * 256]),
                ("'--many' is no option", ["echo", self.URL, "--many"]),
                ("--size needs a value", ["echo", self.URL, "--size"]),
                ("--size: '31' is no number from 32", ["echo", self.URL, "--size", "31"]),
                ("--size: '64k' is no number", ["echo", self.URL, "--size", "64k"]),
                ("--rate: '-1' is no number", ["echo", self.URL, "--rate", "-1"]),
                ("--connections: '1e3' is no", ["echo", self.URL, "--connections", "1e3"]),
                ("more than --members", ["fanout", self.URL, "--publishers", "101"]),
                ("{room} in the path", ["fanout", self.URL, "--rooms", "2"]),
                ("more than 1,000,000", ["fanout", "ws://127.0.0.1:1/{room}", "--rooms", "1000",
                                         "--members", "1001"]),
                ("pairs", ["fanout", self.URL, "--members", "10000", "--publishers", "10000"]),
                ("1,000,000,000 bytes", ["echo", self.URL, "--size", "16777216"]),
                ("idle needs --steps", ["idle", self.URL]),
                ("--steps: '5' is no number from 11", ["idle", self.URL, "--steps", "10,5"]),
                ("more than 16 numbers", ["idle", self.URL, "--steps",
                                          ",".join(map(str, range(1, 18)))]),
                ("--steps is empty", ["idle", self.URL, "--steps", ","]),
                ("exclude each other", ["echo", self.URL, "--binary", "--unicode"])]:
            with self.subTest(words=words):
                self.refuse(words, *arguments)

    def test_a_process_that_is_not_there_is_told(self):
        with floor() as (port, _):
            status, _, complaint = load("echo", f"ws://127.0.0.1:{port}/echo", "--pid", 1 << 22,
                                        *SHORT)
        self.assertEqual(status, 1)
        self.assertIn("process 4194304, has ended", complaint)

    def test_too_few_descriptors_are_told(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        status, _, complaint = load("echo", self.URL, "--connections", 100, preexec_fn=limit)
        self.assertEqual(status, 1)
        self.assertIn("100 connections need 116 descriptors, and 64 are allowed", complaint)


if __name__ == "__main__":
    del sys.argv[1:3]
    unittest.main()
