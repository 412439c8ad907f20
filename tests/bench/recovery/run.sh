#!/bin/sh
# How fast servers are brought up, measured against the ways at hand; about three minutes on two cores:
#
#     sh tests/bench/recovery/run.sh [values|cluster|fast-load]...      all but fast-load without a word
#
# BENCH_MIB (1024) is the size of the files. Needs redis-server, redis-cli and a built recluster (RECLUSTER, else
# build/recluster); 5 times BENCH_MIB of memory and of room in TMPDIR.

set -eu
exec /usr/bin/python3 "$(dirname "$0")/bench_recovery.py" "$@"
