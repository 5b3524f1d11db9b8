"""The order of the layers: a file of the gateway includes only what stands below its folder, files
never include each other in a circle, and a consumer sees the public header alone.

layers.py [TOP]; prints file:line for each fault and ends with 1 when there is one.
"""

import pathlib
import re
import sys

# The way of a message, from the top. A file may include its own folder and those after it.
ORDER = ["process", "config", "net", "route", "consumer", "group", "websocket", "loop",
         "snapshot", "observe"]
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
C_HEADERS = {
    "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits",
    "locale", "math", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef",
    "stdint", "stdio", "stdlib", "stdnoreturn", "string", "tgmath", "threads", "time", "uchar",
    "wchar", "wctype",
}


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1) == '"', found.group(2)


def resolve(gateway, path, quoted, name):
    """The file of the gateway that an include means, or None when it is a library's."""
    for folder in [gateway, gateway / "sdk"] + [path.parent] * quoted:
        candidate = (folder / name).resolve()
        if candidate.is_file() and gateway.resolve() in candidate.parents:
            return candidate
    return None


def layer_of(gateway, path):
    parts = path.resolve().relative_to(gateway.resolve()).parts
    return parts[0] if len(parts) > 1 else "main"


def allowed(upper, lower):
    if lower == "sdk" or lower == upper:
        return True
    if upper == "sdk" or lower == "main":
        return False
    if lower not in ORDER:
        return False
    return upper == "main" or ORDER.index(upper) <= ORDER.index(lower)


def check_layers(gateway, faults):
    graph = {}
    for path in sorted(gateway.rglob("*.[ch]")):
        upper = layer_of(gateway, path)
        if upper not in ORDER + ["main", "sdk"]:
            faults.append(f"{path}:1: the folder '{upper}' has no place in the order of layers")
            continue
        graph[path.resolve()] = []
        for number, quoted, name in includes(path):
            target = resolve(gateway, path, quoted, name)
            if target is None:
                if quoted:
                    faults.append(f'{path}:{number}: "{name}" is no file of the gateway')
                continue
            lower = layer_of(gateway, target)
            graph[path.resolve()].append((number, target))
            if not allowed(upper, lower):
                faults.append(f"{path}:{number}: {upper} may not include {lower} ({name})")
            elif quoted and "/" not in name:
                faults.append(f'{path}:{number}: write "{lower}/{name}", with its folder')
    return graph


def check_circles(graph, faults):
    done, doing = set(), []

    def visit(path):
        if path in done:
            return
        doing.append(path)
        for number, target in graph.get(path, []):
            if target in doing:
                circle = doing[doing.index(target):] + [target]
                names = " -> ".join(one.name for one in circle)
                faults.append(f"{path}:{number}: files include each other: {names}")
            else:
                visit(target)
        doing.pop()
        done.add(path)

    for path in sorted(graph):
        visit(path)


def check_consumers(top, faults):
    for path in sorted((top / "plugins").rglob("*.[ch]")):
        if path.name.startswith("test_"):
            continue
        for number, quoted, name in includes(path):
            if quoted and (path.parent / name).is_file() and "/" not in name:
                continue
            standard = name.endswith(".h") and name[:-2] in C_HEADERS
            system = name.startswith(("sys/", "arpa/", "netinet/")) or name in SYSTEM_HEADERS
            if quoted or not (standard or system or name == "sluice/consumer.h"
                              or name in LIBRARIES):
                faults.append(f"{path}:{number}: a consumer includes the public header, the C "
                              f"library and its own files, not {name}")


SYSTEM_HEADERS = {"unistd.h", "pthread.h", "fcntl.h", "strings.h", "poll.h"}
# Libraries that consumers in plugins/ may use.
LIBRARIES = {"jansson.h", "openssl/crypto.h", "openssl/evp.h", "openssl/hmac.h"}


def check(top):
    faults = []
    graph = check_layers(top / "gateway", faults)
    check_circles(graph, faults)
    check_consumers(top, faults)
    return faults


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found) or "Every include goes down.")
    sys.exit(bool(found))
