#!/bin/sh
# How fast backup files come, on loopback, against tools that only copy: one run, ratios printed.
#
#     sh tests/bench/store/run.sh [BUILD] [MEGABYTES]
#
# HTTP: nginx and `curl -o` (wanted: 0.9 of its speed, with everything verified). A server that gives each
# connection 50 MB/s: what several connections bring. SFTP: sshd and OpenSSH's sftp (wanted: 1.0).
# Needs root for sshd.

set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
exec /usr/bin/python3 "$root/tests/bench/store/run.py" "${1:-$root/build}" "${2:-1024}"
