"""Every configuration that comes with Sluice passes its own check.

conf.py SLUICE: copies conf/ and www/ into a folder of its own, makes the certificates that
the files name, and runs "sluice -t" on each. Plugins are found beside the binary.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sluice = os.path.abspath(sys.argv[1])


def lay_out(folder):
    shutil.copytree("conf", folder / "conf")
    shutil.copytree("www", folder / "www")
    (folder / "tls").mkdir()
    (folder / "logs").mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", str(folder / "tls/key.pem"), "-out", str(folder / "tls/cert.pem")],
                   check=True, capture_output=True)


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lay_out(folder)
        files = sorted((folder / "conf").rglob("*.yaml"))
        for path in files:
            done = subprocess.run([sluice, "-t", "-c", str(path)], capture_output=True, text=True,
                                  check=False, timeout=60)
            if done.returncode != 0:
                bad += 1
                print(f"{path.relative_to(folder)}: exit {done.returncode}")
                print(done.stdout, done.stderr, sep="")
    print(f"{len(files)} files, {bad} refused")
    sys.exit(bad != 0 or not files)


main()
