"""The Debian packages, in a Debian of their own: built, judged by lintian, installed into a fresh
debootstrap, used, removed and purged.

debian.py SLUICE_SOURCES. Needs root, debootstrap and a mirror of Debian's, which is the one that
apt on this machine uses; without them it says why it is skipped and ends with 77.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from server import Server  # noqa: E402
from websocket import WebSocket  # noqa: E402

SKIPPED = 77
RELEASE = "bookworm"
# What builds consumers, and who rotates logs.
TOOLS = ["gcc", "libc6-dev", "make", "cmake", "pkg-config", "logrotate"]

# What the package manager itself keeps.
KEPT = re.compile(r"/(var/lib/(dpkg|apt|systemd/deb-systemd-helper-(enabled|masked))|var/cache"
                  r"|var/log/(apt|dpkg\.log|alternatives\.log)|etc/(passwd|group|g?shadow|sub[ug]id)-"
                  r"|tmp|proc|sys)(/|$)")

CONSUMER = """#include <sluice/consumer.h>
static void on_receive(sluice_conn *conn, sluice_message message) { sluice_send(conn, message); }
SLUICE_CONSUMER("mine", "1.0", .receive = on_receive)
"""


def run(*command, seconds=240, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=seconds, **options)
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def sources_of_apt():
    """(address, suite, component) of all that apt here takes from Debian for the release."""
    if not shutil.which("apt-get"):
        return []
    listed = run("apt-get", "indextargets", "--format",
                 "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
                 "Created-By: Packages")
    found = []
    for line in listed.splitlines():
        origin, codename, address, suite, component = line.split("|")
        if origin == "Debian" and codename.startswith(RELEASE):
            found.append((address, suite, component))
    # The release itself comes first: debootstrap begins from it.
    return sorted(set(found), key=lambda source: (source[1] != RELEASE, source))


def reason_to_skip():
    if os.getuid() != 0:
        return "it needs root"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed"
    sources = sources_of_apt()
    if not sources or sources[0][1] != RELEASE:
        return f"apt on this machine has no source for Debian's {RELEASE}, or no lists (apt-get update)"
    if subprocess.run(["unshare", "--mount", "mount", "-t", "proc", "proc", "/proc"],
                      capture_output=True, check=False).returncode != 0:
        return "debootstrap can't run: this machine does not let root mount a /proc"
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(f"{folder}/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            with open(f"{folder}/null", "w", encoding="ascii"):
                pass
        except OSError as fault:
            return f"debootstrap can't run: devices can't be made in {folder}: {fault.strerror}"
    return None


class Root:
    """A fresh Debian in a folder of its own."""

    def __init__(self, path):
        self.path = path
        # Nobody needs these files after a crash, so dpkg need not wait for the disk.
        self.write("etc/dpkg/dpkg.cfg.d/unsafe", "force-unsafe-io\n")
        sources = sources_of_apt()
        run("debootstrap", "--variant=minbase", RELEASE, path, sources[0][0],
            env={**os.environ, **self.proxy()})
        (path / "etc/apt/sources.list").write_text("".join(
            f"deb {address} {suite} {component}\n" for address, suite, component in sources))
        self.configure_apt()
        run("mount", "-t", "proc", "proc", path / "proc")
        self.apt("update")
        self.apt("install", *TOOLS)

    @staticmethod
    def proxy():
        said = run("apt-config", "shell", "proxy", "Acquire::http::Proxy")
        found = re.search(r"^proxy='(.+)'$", said, re.M)
        return {"http_proxy": found.group(1)} if found else {}

    def configure_apt(self):
        """As apt gets at its files on this machine."""
        said = [line for line in run("apt-config", "dump").splitlines()
                if line.startswith("Acquire::") and not line.endswith('"";')]
        (self.path / "etc/apt/apt.conf.d/90machine").write_text("\n".join(said) + "\n")
        certificates = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        if certificates.exists():
            (self.path / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
            shutil.copy(certificates, self.path / "etc/ssl/certs")

    def run(self, *command, **options):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
                       "DEBIAN_FRONTEND": "noninteractive"}
        return run("chroot", self.path, *command, env=environment, **options)

    def apt(self, *words):
        return self.run("apt-get", "--yes", "--no-install-recommends", *words)

    def status_of(self, *command):
        """(exit status, what it said) of a command that may fail."""
        done = subprocess.run(["chroot", str(self.path), *command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=60)
        return done.returncode, done.stdout

    def read(self, name):
        return (self.path / name.lstrip("/")).read_text()

    def write(self, name, text):
        path = self.path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def files(self):
        """Every path in it, but what the package manager keeps."""
        found = set()
        for folder, folders, names in os.walk(self.path):
            inside = "/" + os.path.relpath(folder, self.path).removeprefix(".").lstrip("/")
            folders[:] = [name for name in folders if not KEPT.search(os.path.join(inside, name))]
            found.update(os.path.join(inside, name) for name in folders + names)
        return {name for name in found if not KEPT.search(name)}


class PackageTest(unittest.TestCase):
    """The steps in their order; each needs those before it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-package-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.packages = []

    def test_the_packages_are_whole(self):
        # A debootstrap waits for the mirror most of the time.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            built = pool.submit(self.build)
            root = Root(self.folder / "root")
            built.result()
        self.addCleanup(run, "umount", root.path / "proc")
        for package in self.packages:
            shutil.copy(package, root.path)
        before = root.files()
        self.install(root)
        self.build_consumers(root)
        self.serve(root)
        # Nobody runs now, so there is nobody to tell, and that is no fault.
        root.run("logrotate", "--state", "/trial/rotated", "--force",
                 "/etc/logrotate.d/sluice")
        self.remove(root, before)

    def build(self):
        run(sources / "script/package", cwd=sources, seconds=600)
        self.packages = sorted((sources / "build/package/packages").glob("*.deb"))
        self.assertEqual(["sluice", "sluice-dev"],
                         sorted(package.name.split("_")[0] for package in self.packages))
        run("lintian", "--allow-root", "--fail-on", "error,warning", *self.packages)

    def install(self, root):
        root.apt("install", *[f"/{package.name}" for package in self.packages])
        self.assertIn("\nsluice:", root.read("/etc/passwd"))
        self.assertTrue((root.path / "etc/systemd/system/multi-user.target.wants/sluice.service")
                        .is_symlink())
        self.assertIn("sluice.yaml: accepted",
                      root.run("sluice", "-t", "-c", "/etc/sluice/sluice.yaml"))
        conffiles = root.run("dpkg-query", "--show", "--showformat=${Conffiles}", "sluice")
        self.assertIn("/etc/sluice/sluice.yaml", conffiles)
        self.assertIn("/etc/logrotate.d/sluice", conffiles)

    def build_consumers(self, root):
        root.write("/trial/mine.c", CONSUMER)
        root.run("sh", "-c", "cc -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror /trial/mine.c "
                 "$(pkg-config --cflags sluice-consumer) -o /usr/lib/sluice/mine.so")
        self.assertIn("consumer  mine 1.0",
                      root.run("sluice", "plugin", "check", "/usr/lib/sluice/mine.so"))
        root.run("sh", "-c", "cd /trial && sluice plugin new greeter")
        root.run("cmake", "-S", "/trial/greeter", "-B", "/trial/greeter/build",
                 "-DCMAKE_C_FLAGS=-Werror")
        root.run("cmake", "--build", "/trial/greeter/build")
        self.assertIn("100% tests passed, 0 tests failed out of 2",
                      root.run("ctest", "--test-dir", "/trial/greeter/build", "--no-tests=error"))
        root.run("cmake", "--install", "/trial/greeter/build")
        self.assertTrue((root.path / "usr/lib/sluice/greeter.so").exists())

    def configure(self, root, greeting="Welcome"):
        """The installed configuration on a port that is free, with the two new consumers."""
        routes = """
      - match: /mine/
        consumer: mine
      - match: /greeter/(?P<group>\\w+)/
        consumer: greeter
"""
        text = root.read("/etc/sluice/sluice.yaml").replace("port: 8080", "port: 0")
        text = text.replace("\n    routes:\n", f"\n    routes:{routes}", 1)
        root.write("/etc/sluice/test.yaml", text.replace("Welcome", greeting))

    def start(self, root):
        server = Server(["chroot", str(root.path), "sluice", "-c", "/etc/sluice/test.yaml"])
        self.addCleanup(server.kill)
        return server

    def greeted(self, port):
        client = WebSocket(port, "/ws/chat/lobby/")
        self.addCleanup(client.end)
        return client, client.hear()

    def serve(self, root):
        self.configure(root)
        server = self.start(root)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=20) as page:
            self.assertIn(b"<!doctype html>", page.read().lower())
        for way in ("/mine/", "/greeter/kitchen/"):
            client = WebSocket(server.port, way)
            client.send("one")
            self.assertEqual("one", client.hear())
            client.end()
        self.assertEqual(["root", "sluice"], self.users_of(root, server))
        client, said = self.greeted(server.port)
        self.assertIn("Welcome", said)
        self.reload(root, server, client)
        self.rotate(root, server)
        server.process.terminate()
        self.assertEqual(1001, client.closed())
        self.assertEqual(0, server.stop(), server.log)

    @staticmethod
    def users_of(root, server):
        """The names, in the root, of those who the server's processes are."""
        names = {}
        for line in root.read("/etc/passwd").splitlines():
            name, _, number = line.split(":")[:3]
            names[int(number)] = name
        processes = [server.process.pid]
        processes += map(int, run("sh", "-c", f"cat /proc/{processes[0]}/task/*/children").split())
        return [names.get(os.stat(f"/proc/{process}").st_uid) for process in processes]

    def reload(self, root, server, client):
        command = ["sluice", "reload", "-c", "/etc/sluice/test.yaml"]
        self.configure(root, greeting="Good evening")
        root.run(*command)
        self.assertIn("Good evening", self.greeted(server.port)[1])
        root.write("/etc/sluice/test.yaml", root.read("/etc/sluice/test.yaml") + "odd-word: 1\n")
        status, said = root.status_of(*command)
        self.assertEqual(78, status, said)
        self.assertIn("odd-word", said)
        self.assertIn("Good evening", self.greeted(server.port)[1])
        client.send("still here")
        while client.hear() != "still here":
            pass

    def logged(self, root, name, text):
        """Waits for the text: a line is written once its answer has left."""
        for _ in range(200):
            if text in root.read(name):
                return
            time.sleep(0.05)
        self.fail(f"{text} is not in {name}, but: {root.read(name)}\n"
                  f"beside it: {root.run('sh', '-c', 'tail /var/log/sluice/*')}")

    def rotate(self, root, server):
        self.logged(root, "/var/log/sluice/access.log", "GET / HTTP")
        root.run("logrotate", "--state", "/trial/rotated", "--force",
                 "/etc/logrotate.d/sluice")
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/nothing", timeout=20)
        self.logged(root, "/var/log/sluice/access.log", "GET /nothing HTTP")
        self.assertIn("GET / HTTP", root.read("/var/log/sluice/access.log.1"))

    def remove(self, root, before):
        (root.path / "etc/sluice/test.yaml").unlink()
        for name in ("mine", "greeter"):
            (root.path / f"usr/lib/sluice/{name}.so").unlink()
        shutil.rmtree(root.path / "trial")
        root.apt("remove", "sluice", "sluice-dev")
        self.assertTrue((root.path / "etc/sluice/sluice.yaml").exists())
        self.assertFalse((root.path / "usr/bin/sluice").exists())
        root.apt("purge", "--auto-remove", "sluice", "sluice-dev")
        self.assertEqual([], sorted(root.files() - before), "left behind")
        self.assertEqual([], sorted(before - root.files()), "taken along")
        self.assertNotIn("\nsluice:", root.read("/etc/passwd") + root.read("/etc/group"))


def main():
    reason = reason_to_skip()
    if reason:
        print(f"SKIPPED: the Debian packages were not tried: {reason}")
        sys.exit(SKIPPED)
    # In a namespace of its own, so that what is mounted goes when this ends, whatever ends it.
    if "--inside" not in sys.argv:
        command = ["unshare", "--mount", sys.executable, __file__, "--inside", *sys.argv[1:]]
        os.execvp("unshare", command)
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    sources = pathlib.Path(sys.argv[-1]).resolve()
    main()
