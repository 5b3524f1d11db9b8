"""What every text file keeps to: no tabs, no blanks at line ends, one newline at the end, no line
of another licence, no address of a package registry in a lock file.

files.py [TOP]; prints file:line for each fault and ends with 1 when there is one.
"""

import pathlib
import re
import subprocess
import sys

# Not ours to lay out, or not text.
SKIPPED = re.compile(r"(^|/)(node_modules|build|\.git|corpus)/|\.(png|ico|svg|pem|bin|woff2)$")
LICENCES = re.compile(r"GNU (Lesser |Affero )?General Public|Apache License|Mozilla Public|"
                      r"SPDX-License-Identifier:(?! MIT)|All rights reserved", re.I)


def files(top):
    """The files that are in the repository or would be; all of them outside one."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=top,
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.splitlines()
    else:
        names = [str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()]
    return sorted({name for name in names if not SKIPPED.search(name) and (top / name).is_file()})


def check_file(top, name):
    faults = []
    try:
        text = (top / name).read_bytes().decode()
    except UnicodeDecodeError:
        return [f"{name}:1: not UTF-8"]
    if text and not text.endswith("\n"):
        faults.append(f"{name}: no newline at the end")
    if text.endswith("\n\n"):
        faults.append(f"{name}: empty lines at the end")
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            faults.append(f"{name}:{number}: a tab")
        if line != line.rstrip():
            faults.append(f"{name}:{number}: blanks at the end of the line")
        if not name.startswith("tests/style/") and LICENCES.search(line):
            faults.append(f"{name}:{number}: another licence than MIT")
        if name.endswith("package-lock.json") and '"resolved"' in line:
            faults.append(f"{name}:{number}: an address of a registry")
    return faults


def check(top):
    return [fault for name in files(top) for fault in check_file(top, name)]


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found) or "Every file is tidy.")
    sys.exit(bool(found))
