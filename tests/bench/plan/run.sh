#!/bin/sh
# How good and how quick the planner is, offline, the CCS file included: generated clusters, 95 % full
# and one shard short; small ones against an exact solver; random ones against an independent checker.
#
#     sh tests/bench/plan/run.sh [BUILD]
#
# Wanted: 1,000 hosts and 20,000 shards in under 2 s and 200 MB; the fullest host within 5 % of the
# optimum (small clusters) or of all being equally full (large ones). Needs glpsol (glpk-utils).

set -eu

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../../../build}/recluster
python3 "$here/table.py" "$program"
python3 "$here/quality.py" "$program"
python3 "$here/check_plan.py" "$program" --cases 2000
