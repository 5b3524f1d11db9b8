"""The README's example is the relay consumer itself, and files that the documents name are there.

readme.py [TOP]; prints what differs and ends with 1 when something does.
"""

import pathlib
import re
import sys

BLOCK = re.compile(r"^```c\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def check(top):
    faults = []
    readme = (top / "README.md").read_text()
    relay = (top / "plugins/relay/relay.c").read_text()
    if relay not in BLOCK.findall(readme):
        faults.append("README.md: no C block is the text of plugins/relay/relay.c")
    for document in [top / "README.md", *sorted((top / "docs").glob("*.md"))]:
        for number, line in enumerate(document.read_text().splitlines(), 1):
            for target in LINK.findall(line):
                if not (document.parent / target).exists():
                    faults.append(f"{document.relative_to(top)}:{number}: {target} is not there")
    return faults


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found) or "The README's example is the relay consumer.")
    sys.exit(bool(found))
