#!/bin/sh
# Builds everything and runs the unit and the system tests:
#
#     sh tests/run.sh [ARGUMENTS OF PYTEST]      e.g. -k refusals, -x, -n 0
#
# Installs missing Debian packages first (root or sudo). With RECLUSTER_SLOW=1 in the environment also the
# slow tests run, and the servers of all object stores are installed. Ends with a line "N passed, N failed"; its exit
# status is not 0 if anything failed.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
cd "$root"

sh fixtures/packages.sh build test servers ${RECLUSTER_SLOW:+npm stores ceph}
# shellcheck disable=SC2046 # a list of words
sh fixtures/servers.sh $([ -n "${RECLUSTER_SLOW:-}" ] || echo redis80 valkey91) ||
    echo "run.sh: tests with servers of other releases are skipped" >&2
[ -f "$build/build.ninja" ] || meson setup "$build" "$root"
meson compile -C "$build"

failed=0
rm -f "$build/meson-logs/testlog.json" "$build/system-tests.xml"
meson test -C "$build" --print-errorlogs </dev/null || failed=1
/usr/bin/python3 -m pytest -p no:cacheprovider -n "$(nproc)" --junitxml "$build/system-tests.xml" \
    tests/system "$@" </dev/null || failed=1

/usr/bin/python3 tests/count.py "$build" || failed=1
exit "$failed"
