"""All C is laid out as clang-format would.

format.py [TOP]; prints each place that is not and ends with 1 when there is one.
"""

import pathlib
import subprocess
import sys


def sources(top):
    found = []
    for folder in ("gateway", "plugins", "tests", "bench"):
        for pattern in ("*.[ch]", "*.cc"):
            found += (top / folder).rglob(pattern)
    return sorted(str(path) for path in found if "node_modules" not in path.parts)


if __name__ == "__main__":
    names = sources(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    if not names:
        sys.exit("no C file was found")
    sys.exit(subprocess.run(["clang-format", "--dry-run", "-Werror", *names],
                            check=False).returncode != 0)
