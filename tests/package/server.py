"""An installed server, run for a test on a port that the kernel chooses."""

import re
import subprocess
import threading


class Server:
    """command: how it is started. It is ready when this returns, and ended by stop or kill."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        late = threading.Timer(60, self.process.kill)
        late.start()
        self.log = ""
        for line in self.process.stderr:
            self.log += line
            if "info: ready" in line:
                break
        late.cancel()
        found = re.search(r"listening on http://\S+:(\d+)/?$", self.log, re.M)
        if self.process.poll() is not None or not found:
            raise AssertionError(f"{' '.join(command)} did not start:\n{self.log}")
        self.port = int(found.group(1))
        # A pipe that nobody reads would hold the server up.
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.log += line

    def stop(self):
        """SIGTERM; the status that it ends with."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        self.process.stderr.close()
