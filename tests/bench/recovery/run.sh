#!/bin/sh
# How fast servers are brought up, measured against the ways at hand; about ten minutes on two cores:
#
#     sh tests/bench/recovery/run.sh [values|cluster|processor|fast-load|landing|runbook]...
#
# Without a word: values and cluster. `processor` tells what all processes of recluster take of the processors, beside the
# servers and beside plain copies of the file. `landing` needs root: it makes a network of 1 Gbit/s for itself.
#
# BENCH_MIB (1024) is the size of the files, BENCH_RUNS (3) how often each time is measured, in turn. Needs redis-server,
# redis-cli and a built recluster (RECLUSTER, else build/recluster); 5 times BENCH_MIB of memory and of room in TMPDIR.

set -eu
exec /usr/bin/python3 "$(dirname "$0")/bench_recovery.py" "$@"
