#!/bin/sh
# What `capture --follow` costs a running cluster: processor time of its servers and the latency of a client, beside it
# and without it, in turn:
#
#     sh tests/bench/capture/run.sh
#
# BENCH_SECONDS (10) is the length of a turn, BENCH_RUNS (3) how many turns of each kind. Needs redis-server and a built
# recluster (RECLUSTER, else build/recluster).

set -eu
exec /usr/bin/python3 "$(dirname "$0")/bench_capture.py" "$@"
