#!/bin/sh
# What a backup costs a running cluster, and how fast it is:
#
#     sh tests/bench/backup/run.sh
#
# In turn, BENCH_RUNS times (3): the latency of a client without a backup, with `recluster backup`, with
# `recluster backup --follow`, and with BGSAVE on the primaries; the time of a backup of all shards beside that of
# `redis-cli --rdb` from the same servers, one after the other and all at once. BENCH_MIB (100) of data in each shard,
# BENCH_SECONDS (10) a turn. Needs redis-server, redis-cli and a built recluster (RECLUSTER, else build/recluster).

set -eu
exec /usr/bin/python3 "$(dirname "$0")/bench_backup.py" "$@"
