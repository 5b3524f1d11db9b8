"""The gateway and the consumers are clean under clang-tidy (.clang-tidy says which checks).

tidy.py BUILD; BUILD holds compile_commands.json. Ends with 1 when there is a finding.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

build = pathlib.Path(sys.argv[1])
top = pathlib.Path(".").resolve()
commands = json.loads((build / "compile_commands.json").read_text())
names = sorted({command["file"] for command in commands
                if pathlib.Path(command["file"]).is_relative_to(top / "gateway")
                or pathlib.Path(command["file"]).is_relative_to(top / "plugins")})
if not names:
    sys.exit(f"{build} compiles no file of gateway/ or plugins/")


def tidy(name):
    # gcc's warning and sanitizer flags mean nothing to clang's parser.
    return subprocess.run(["clang-tidy", "--quiet", "-p", str(build), "--warnings-as-errors=*",
                           "--extra-arg=-Wno-unknown-warning-option", name],
                          capture_output=True, text=True, check=False)


bad = 0
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for done in pool.map(tidy, names):
        if done.returncode != 0:
            bad += 1
            print(done.stdout)
print(f"{len(names)} files, {bad} with findings")
sys.exit(bad != 0)
