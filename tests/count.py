"""Prints how many unit and system tests of a build folder's last run passed and failed.

    count.py BUILD      prints "N passed, N failed"; exit status 1 if any failed or none ran
"""

import json
import re
import sys
import xml.etree.ElementTree
from pathlib import Path


def unit_tests(build):
    """cmocka's own counts; a program that ended badly without a failed test counts as one failure."""
    passed = failed = 0
    for line in (build / "meson-logs" / "testlog.json").read_text().splitlines():
        program = json.loads(line)
        output = program.get("stdout", "") + program.get("stderr", "")
        passed += len(re.findall(r"^\[ +OK \] ", output, re.M))
        failed += len(set(re.findall(r"^\[ +FAILED +\] (\w+)$", output, re.M)))
        if program["result"] != "OK" and "[  FAILED  ]" not in output:
            failed += 1
    return passed, failed


def system_tests(build):
    passed = failed = 0
    for suite in xml.etree.ElementTree.parse(build / "system-tests.xml").iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        failed += bad
        passed += int(suite.get("tests")) - bad - int(suite.get("skipped"))
    return passed, failed


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    passed = failed = 0
    for count in (unit_tests, system_tests):
        try:
            p, f = count(Path(argv[1]))
        except OSError as e:
            print(f"count.py: {count.__name__}: {e}", file=sys.stderr)
            p, f = 0, 1
        if not p and not f:
            print(f"count.py: {count.__name__}: none ran", file=sys.stderr)
            f = 1
        passed += p
        failed += f
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
