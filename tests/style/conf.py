"""Every configuration that comes with Sluice passes its own check, and so does every one that the
documents show.

conf.py SLUICE: copies conf/ and www/ into a folder of its own, makes the certificates and the secret
that the files name, and runs "sluice -t" on each. Plugins are found beside the binary. What a document
shows in part is made whole first, and the files that it names are made.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.M | re.S)
ABSOLUTE = re.compile(r"(?<=: )/(?=(?:etc|var|usr)/)")

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
    secret = folder / "tls/session.secret"
    secret.write_text("s" * 32 + "\n")
    for path in (folder / "conf").rglob("*.yaml"):
        text = path.read_text().replace("secret-file: /etc/sluice/session.secret",
                                        f"secret-file: {secret}")
        path.write_text(text)


def make_whole(block):
    """The block with what a server needs beside, and its paths below its own folder."""
    text = ABSOLUTE.sub("", textwrap.dedent(block)).replace("plugin-dir: .\n", "")
    if re.match(r"routes:|paths:", text):
        text = "hosts:\n  default:\n" + textwrap.indent(text, "    ")
    if not re.search(r"^listen:", text, re.M):
        text += "listen: 8080\n"
    if not re.search(r"^hosts:", text, re.M):
        text += "hosts: {default: {paths: {/: {status: ON}}}}\n"
    return text


def make_files(folder, text, tls):
    for kind, name in re.findall(r"(certificate-file|key-file|token-file|file\.dir|unix|sqlite): "
                                 r"([\w./-]+)", text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file.dir":
            path.mkdir(exist_ok=True)
        elif kind == "token-file":
            path.write_text("t" * 32 + "\n")
            path.chmod(0o600)
        elif kind not in ("unix", "sqlite"):
            shutil.copy(tls / ("key.pem" if kind == "key-file" else "cert.pem"), path)


def write_shown(folder):
    """A file for each configuration in the documents."""
    for document in ["README.md", *pathlib.Path().glob("docs/*.md"),
                     *pathlib.Path().glob("plugins/*/README.md")]:
        for number, block in enumerate(BLOCK.findall(pathlib.Path(document).read_text())):
            own = folder / "shown" / f"{str(document).replace('/', '_')}-{number}"
            own.mkdir(parents=True)
            text = re.sub(r"secret-file: [^\s,}]+", f"secret-file: {folder}/tls/session.secret",
                          make_whole(block))
            make_files(own, text, folder / "tls")
            (own / "sluice.yaml").write_text(text)


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lay_out(folder)
        write_shown(folder)
        files = sorted((folder / "conf").rglob("*.yaml"))
        shown = sorted((folder / "shown").rglob("*.yaml"))
        for path in files + shown:
            done = subprocess.run([sluice, "-t", "-c", str(path)], capture_output=True, text=True,
                                  check=False, timeout=60)
            if done.returncode != 0:
                bad += 1
                print(f"{path.relative_to(folder)}: exit {done.returncode}")
                print(done.stdout, done.stderr, sep="")
    print(f"{len(files)} files and {len(shown)} in documents, {bad} refused")
    sys.exit(bad != 0 or not files or not shown)


main()
