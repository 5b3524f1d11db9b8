"""Counts the test cases in a report of ctest: cases.py REPORT CTEST_STATUS prints "PASSED FAILED".

A test that runs Check or Node's test runner counts as the cases that these closed on, any other as
one. A test that failed after its last case passed (a leak, say) counts one failure more. A test that
said itself that it can't run here counts as nothing.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
NODE = re.compile(r"^(?:#|\u2139) (pass|fail|cancelled) (\d+)", re.M)


def cases_of(output):
    passed = failed = 0
    for checks, failures, errors in CHECK.findall(output):
        failed += int(failures) + int(errors)
        passed += int(checks) - int(failures) - int(errors)
    for word, count in NODE.findall(output):
        if word == "pass":
            passed += int(count)
        else:
            failed += int(count)
    return passed, failed


def main():
    passed = failed = 0
    for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None and skipped.get("message", "").startswith("SKIP_RETURN_CODE"):
            continue
        good, bad = cases_of(case.findtext("system-out") or "")
        ok = case.get("status") == "run"
        if good + bad == 0:
            good, bad = (1, 0) if ok else (0, 1)
        elif not ok and bad == 0:
            bad = 1
        passed += good
        failed += bad
    if int(sys.argv[2]) != 0 and failed == 0:
        failed = 1
    print(passed, failed)


main()
