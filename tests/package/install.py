"""`cmake --install`: what it lays out works from there.

install.py BUILD; BUILD is a built tree. Installs into a folder of its own.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from server import Server  # noqa: E402
from websocket import WebSocket  # noqa: E402

build = pathlib.Path(sys.argv.pop()).resolve()

CONSUMER = """#include <sluice/consumer.h>
static void on_receive(sluice_conn *conn, sluice_message message) { sluice_send(conn, message); }
SLUICE_CONSUMER("mine", "1.0", .receive = on_receive)
"""

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(mine C)
find_package(sluice-consumer 1.0 REQUIRED)
sluice_add_consumer(mine mine.c)
"""


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, timeout=120, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def cached(name):
    """A value of the build's configuration."""
    text = (build / "CMakeCache.txt").read_text()
    return re.search(rf"^{name}:\w+=(.*)$", text, re.M).group(1)


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        cls.install()
        cls.prefix = cls.root / cached("CMAKE_INSTALL_PREFIX").lstrip("/")
        cls.conf = next(cls.root.rglob("etc/sluice/sluice.yaml"))
        cls.work = cls.root / "work"
        cls.work.mkdir()
        (cls.work / "mine.c").write_text(CONSUMER)
        (cls.work / "CMakeLists.txt").write_text(PROJECT)

    @classmethod
    def install(cls):
        return run("cmake", "--install", build, env={**os.environ, "DESTDIR": str(cls.root)})

    def file(self, pattern):
        found = list(self.root.rglob(pattern))
        self.assertEqual(1, len(found), f"{pattern}: {found}")
        return found[0]

    def configuration(self, port=0, more=""):
        """The installed configuration, for the folder that this test installed into."""
        text = self.conf.read_text().replace("port: 8080", f"port: {port}")
        text = text.replace("user: sluice", "").replace(str(cached("CMAKE_INSTALL_PREFIX")),
                                                         str(self.prefix))
        text = text.replace("access-log: /var/log/sluice/", f"access-log: {self.work}/") + more
        text = text.replace("control: /run/sluice/", f"control: {self.work}/")
        path = self.work / "sluice.yaml"
        path.write_text(text)
        return path

    def serve(self, path):
        server = Server([str(self.prefix / "bin/sluice"), "-c", str(path)])
        self.addCleanup(server.kill)
        return server

    def test_the_configuration_serves_pages_and_consumers_from_where_they_are(self):
        server = self.serve(self.configuration())
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=20) as page:
            self.assertIn(b"<!doctype html>", page.read().lower())
        chat = WebSocket(server.port, "/ws/chat/lobby/")
        chat.send("hello")
        self.assertIn("Welcome", chat.hear())
        self.assertEqual("hello", chat.hear())
        chat.end()
        self.assertEqual(0, server.stop(), server.log)

    def test_the_configuration_names_no_path_of_the_source_tree(self):
        text = self.conf.read_text()
        self.assertNotIn("../www", text)
        self.assertNotIn("../logs", text)
        self.assertIn("  - host: 127.0.0.1\n    port: 8080\n", text)
        self.assertIn("\nuser: sluice\n", text)
        self.assertIn("\ncontrol: /run/sluice/sluice.control\n", text)

    def test_an_edited_configuration_is_kept(self):
        whole = self.conf.read_text()
        self.addCleanup(self.conf.write_text, whole)
        self.conf.write_text("mine: 1\n")
        self.assertIn("Kept: ", self.install())
        self.assertEqual("mine: 1\n", self.conf.read_text())

    def test_a_consumer_builds_by_cmake_and_runs(self):
        run("cmake", "-S", self.work, "-B", self.work / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror")
        run("cmake", "--build", self.work / "build")
        self.speaks(self.work / "build/mine.so")

    def test_cmake_says_when_the_abi_is_another(self):
        shutil.copytree(self.work, self.work / "other", ignore=shutil.ignore_patterns("other", "build"))
        self.addCleanup(shutil.rmtree, self.work / "other")
        (self.work / "other/CMakeLists.txt").write_text(PROJECT.replace("1.0", "2.0"))
        with self.assertRaisesRegex(AssertionError, "compatible with requested version \"2.0\""):
            run("cmake", "-S", self.work / "other", "-B", self.work / "other/build",
                f"-DCMAKE_PREFIX_PATH={self.prefix}")

    def test_a_consumer_builds_by_pkg_config_and_runs(self):
        folder = self.file("sluice-consumer.pc").parent
        environment = {**os.environ, "PKG_CONFIG_PATH": str(folder),
                       "PKG_CONFIG_SYSROOT_DIR": str(self.root)}
        flags = run("pkg-config", "--cflags", "--libs", "sluice-consumer", env=environment).split()
        run("cc", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", self.work / "mine.c", *flags, "-o",
            self.work / "mine.so")
        self.speaks(self.work / "mine.so")

    def plugin(self, *words, **options):
        return subprocess.run([str(self.prefix / "bin/sluice"), "plugin", *words],
                              capture_output=True, text=True, check=False, timeout=60, **options)

    def test_a_new_consumer_builds_without_a_warning_and_passes_its_test(self):
        done = self.plugin("new", "greeter", cwd=self.work)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        folder = self.work / "greeter"
        run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_C_FLAGS=-Werror")
        run("cmake", "--build", folder / "build")
        said = run("ctest", "--test-dir", folder / "build", "--no-tests=error")
        self.assertIn("100% tests passed, 0 tests failed out of 2", said)
        run(self.prefix / "bin/sluice", "-t", "-c", folder / "sluice.yaml")
        self.speaks(folder / "build/greeter.so", "/greeter/kitchen/", "/greeter/(?P<group>\\w+)/")

    def test_a_new_consumers_test_can_fail(self):
        self.assertEqual(0, self.plugin("new", "loser", cwd=self.work).returncode)
        folder = self.work / "loser"
        code = (folder / "loser.c").read_text()
        (folder / "loser.c").write_text(code.replace("    sluice_group_add(", "    sluice_group_discard("))
        run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", folder / "build")
        with self.assertRaisesRegex(AssertionError, "not so: fake_count"):
            run("ctest", "--test-dir", folder / "build", "--output-on-failure")

    def test_a_new_consumer_changes_nothing_that_is_there(self):
        (self.work / "taken").mkdir()
        done = self.plugin("new", "taken", cwd=self.work)
        self.assertEqual(73, done.returncode)
        self.assertIn("taken is there already", done.stderr)
        self.assertEqual([], list((self.work / "taken").iterdir()))

    def test_plugins_are_checked(self):
        done = self.plugin("check", str(self.prefix / "lib/sluice/echo.so"))
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertIn("  consumer  echo ", done.stdout)
        done = self.plugin("check", str(self.conf))
        self.assertEqual((65, ""), (done.returncode, done.stdout))
        self.assertIn("is no ELF file", done.stderr)

    def test_wrong_words_behind_plugin_are_a_wrong_command_line(self):
        for words in ([], ["check"], ["new"], ["new", "a", "b"], ["new", "Capital"], ["odd", "x"]):
            done = self.plugin(*words, cwd=self.work)
            self.assertEqual((64, ""), (done.returncode, done.stdout), words)
            self.assertNotEqual("", done.stderr)

    def speaks(self, plugin, way="/mine/", match="/mine/"):
        route = f"""
      - match: {match}
        consumer: {plugin}
"""
        path = self.configuration()
        path.write_text(path.read_text().replace("\n    routes:\n", f"\n    routes:{route}", 1))
        server = self.serve(path)
        client = WebSocket(server.port, way)
        client.send("one")
        self.assertEqual("one", client.hear())
        client.end()
        self.assertEqual(0, server.stop(), server.log)


if __name__ == "__main__":
    unittest.main()
