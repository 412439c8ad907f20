#!/bin/sh
# How fast RDB files are read, checked and cut, against redis-check-rdb on the same files in one run:
#
#     sh tests/bench/rdb/run.sh [DIR]        DIR keeps the files (800 MB); default: a folder below /tmp
#
# Prints the best processor time (user and system) of three runs of each, so that other work on the
# machine counts little, less that of the program's start, and the ratio to the target. The six
# files that each is cut into are loaded by servers and compared with it, key by key. Takes some four minutes,
# one more to make the files. Needs redis-server, redis-cli and python3.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
dir=${1:-/tmp/recluster-bench-rdb}
build=${BUILD:-$root/build}

[ -f "$build/build.ninja" ] || meson setup "$build" "$root" >/dev/null
ninja -C "$build" recluster tests/unit/rdb/bench_rdb >/dev/null
sh "$root/tests/bench/rdb/make_files.sh" "$dir"
exec /usr/bin/python3 "$root/tests/bench/rdb/measure.py" "$build" "$dir"
