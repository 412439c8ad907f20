#!/bin/sh
# Runs the fuzzers, with libFuzzer of clang and the address and undefined behaviour sanitizers:
#
#     sh tests/fuzz/run.sh [SECONDS] [TARGET...]        60 s each of all targets
#
# Starts from the kept corpus (tests/fuzz/corpus/TARGET) and the fixtures. What it finds on its way is
# kept in $FUZZ_DIR (a new folder below /tmp); an input that fails is put there as crash-..., to be
# fixed and then moved into the kept corpus, which the unit tests replay.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- reader split ccs answers stores live stream
work=${FUZZ_DIR:-$(mktemp -d /tmp/recluster-fuzz-XXXXXX)}
mkdir -p "$work"

[ -f "$work/build/build.ninja" ] || CC=clang meson setup "$work/build" "$root" --buildtype=debug \
    -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false \
    -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined' >/dev/null
for target in "$@"; do
    ninja -C "$work/build" "tests/fuzz/fuzz_$target" >"$work/log" || { cat "$work/log"; exit 1; }
    mkdir -p "$work/$target"
    case $target in
    ccs) seeds="$root/fixtures/ccs" ;;
    answers | stores | live | stream) seeds= ;;
    *) seeds="$root/fixtures/rdb-corpus $root/fixtures/rdb" ;;
    esac
    echo "== $target"
    # shellcheck disable=SC2086 # folders without spaces
    "$work/build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=16384 -timeout=20 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$work/" "$work/$target" \
        "$root/tests/fuzz/corpus/$target" $seeds 2>&1 | grep -vE '^#|^INFO|NEW_FUNC'
done
echo "inputs are in $work"
