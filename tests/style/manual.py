"""The manual pages are whole: sluice.yaml(5) has each own word of conf/, sluice-consumer(3) each
function, hook and constant of the header, sluice(8) each option; and mandoc finds nothing wrong.

manual.py [TOP]; prints what is missing and ends with 1 when something is.
"""

import pathlib
import re
import shutil
import subprocess
import sys

# Words in conf/ that are H2O's, or names that somebody chose; H2O's others have a dot.
FOREIGN = {"access-log", "compress", "error-doc", "expires", "redirect", "status", "url", "code",
           "default", "https", "http"}
KEY = re.compile(r"^\s*(?:#\s*)*(?:- )?([a-z][a-z.-]*):(?:\s|$)")
INNER = re.compile(r"[{,]\s*([a-z][a-z.-]*):\s")


def conf_words(text):
    """(line, word) of each key that is Sluice's own, in comments as well."""
    for number, line in enumerate(text.splitlines(), 1):
        found = KEY.match(line)
        keys = [found.group(1)] if found else []
        if "options" not in keys:  # those are the consumer's
            keys += INNER.findall(line)
        yield from ((number, key) for key in keys if "." not in key and key not in FOREIGN)


def words_of(page, marked=r"\."):
    """The words on the page's lines with that mark-up."""
    lines = [line for line in page.read_text().splitlines() if re.match(marked, line)]
    return set(re.findall(r"[A-Za-z_][\w-]*", "\n".join(lines)))


def check_conf(top, faults):
    known = words_of(top / "packaging/man/sluice.yaml.5", r"\.(It )?Ic ")
    for path in sorted((top / "conf").rglob("*.yaml")):
        for number, word in conf_words(path.read_text()):
            if word not in known:
                faults.append(f"{path}:{number}: `{word}` is not in sluice.yaml(5)")


def check_header(top, faults):
    known = words_of(top / "packaging/man/sluice-consumer.3")
    header = (top / "gateway/sdk/sluice/consumer.h").read_text()
    names = re.findall(r"^static inline [^(]*?(sluice_\w+)\(", header, re.M)
    names += re.findall(r"\(\*(\w+)\)\([^;]*\) SLUICE_UNSET;", header)
    for body in re.findall(r"^enum \{(.*?)\};", header, re.M | re.S):
        names += [name for name in re.findall(r"\bSLUICE_[A-Z]\w*", body)
                  if not re.match(r"SLUICE_(LOG_|TEXT|BINARY)", name)]
    if len(names) < 40:
        faults.append("gateway/sdk/sluice/consumer.h: its functions and hooks were not found")
    faults.extend(f"sluice-consumer(3) lacks {name}" for name in names if name not in known)


def check_options(top, faults):
    known = words_of(top / "packaging/man/sluice.8")
    for path in sorted((top / "gateway").rglob("*.c")):
        for name in re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', path.read_text()):
            if name not in known:
                faults.append(f"{path}: sluice(8) lacks --{name}")


def check_layout(top, faults):
    if not shutil.which("mandoc"):
        print("mandoc is not here, so it was not asked")
        return
    for page in sorted((top / "packaging/man").iterdir()):
        found = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)],
                               capture_output=True, text=True, check=False)
        faults.extend(found.stdout.splitlines())


def check(top):
    faults = []
    check_conf(top, faults)
    check_header(top, faults)
    check_options(top, faults)
    check_layout(top, faults)
    return faults


if __name__ == "__main__":
    missing = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(missing) or "The manual pages are whole.")
    sys.exit(bool(missing))
