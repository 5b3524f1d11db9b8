"""No C function is longer than 60 lines, except the few named here with the reason.

functions.py [TOP]; prints file:line for each fault and ends with 1 when there is one.
"""

import pathlib
import re
import sys

MOST = 60

# "file: function" -> why it may be longer.
LONGER = {}

STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
NAME = re.compile(r"([A-Za-z_]\w*)\s*\([^;{}]*\)\s*$", re.S)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def without_noise(text):
    """The text with comments, strings and preprocessor lines blanked, its lines kept."""
    text = STRING.sub(lambda m: '"' + " " * (len(m.group(0)) - 2) + '"', text)
    text = COMMENT.sub(blank, text)
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", blank, text, flags=re.M)


def functions(text):
    """(name, first line, lines) of each function, from its name to its closing brace."""
    text = without_noise(text)
    depth, start, head = 0, 0, None
    for place, letter in enumerate(text):
        if letter == "{":
            if depth == 0:
                head = NAME.search(text, start, place)
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth == 0:
                if head:
                    first = text.count("\n", 0, head.start(1)) + 1
                    yield head.group(1), first, text.count("\n", 0, place) + 2 - first
                head, start = None, place + 1
        elif letter == ";" and depth == 0:
            start = place + 1


def check(top, longer=None):
    longer = LONGER if longer is None else longer
    faults, used = [], set()
    for folder in ("gateway", "plugins", "tests", "bench"):
        for path in sorted((top / folder).rglob("*.[ch]")):
            if "node_modules" in path.parts:
                continue
            for name, line, length in functions(path.read_text()):
                if length <= MOST:
                    continue
                key = f"{path.relative_to(top)}: {name}"
                used.add(key)
                if key not in longer:
                    faults.append(f"{path}:{line}: {name} has {length} lines; {MOST} are allowed")
    for key in sorted(set(longer) - used):
        faults.append(f"{key} is allowed to be longer than {MOST} lines but is not: take it out")
    return faults


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found) or f"No function is longer than {MOST} lines.")
    sys.exit(bool(found))
