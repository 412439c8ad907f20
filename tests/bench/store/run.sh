#!/bin/sh
# How fast backup files come, on loopback, against tools that only copy: one run, ratios printed.
#
#     sh tests/bench/store/run.sh [BUILD] [MEGABYTES]
#
# Each is the best of three runs, which make their output anew. HTTP: nginx and `curl -o` (wanted: 0.9 of its speed, with everything
# verified). A server that gives each connection 50 MB/s: what several connections bring. S3: s3rver and
# `rclone copy` (wanted: 1.5, or as fast as the server is). SFTP: sshd and OpenSSH's sftp (wanted: 1.0),
# and what one connection of ours gives to a reader that throws everything away.
# Memory of a fetch, all of its processes (wanted: under 32 MB).
#
# Needs root for sshd, node and npm for s3rver, and rclone.

set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
exec /usr/bin/python3 "$root/tests/bench/store/run.py" "${1:-$root/build}" "${2:-1024}"
