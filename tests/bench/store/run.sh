#!/bin/sh
# How fast backup files come, on loopback, against tools that only copy: one run, ratios printed.
#
#     sh tests/bench/store/run.sh [BUILD [MEGABYTES [http|s3|sftp…]]]
#
# Each is the best of three runs, which make their output anew. HTTP: nginx and `curl -o` (wanted: 0.9 of its speed, with everything
# verified). S3: s3rver and `rclone copy` (wanted: 1.5, or as fast as the server is). SFTP: sshd, OpenSSH's
# sftp (wanted: 1.0) and libssh2 by itself, which throws away what it reads (sftp_alone.c), as one connection of
# ours does (wanted: 1.0). Memory of a fetch, all of its processes (wanted: under 32 MB).
#
# Needs root for sshd, a C compiler, node and npm for s3rver, and rclone.

set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
build=${1:-$root/build}
megabytes=${2:-1024}
shift "$(($# < 2 ? $# : 2))"
exec /usr/bin/python3 "$root/tests/bench/store/run.py" "$build" "$megabytes" "$@"
