#!/bin/sh
# Makes the RDB files of the benchmark, with a real redis-server:
#
#     sh tests/bench/rdb/make_files.sh DIR
#
# short.rdb    2 million strings of 100 bytes             long.rdb   40,000 strings of 10 KB
# lzf.rdb      2 million strings that LZF made short      packed.rdb 300,000 packed hashes and sorted sets
# and short.rdb.gz, packed.rdb.gz. Files that are there are kept.
set -eu

out=$1
mkdir -p "$out"
socket=$out/server.sock
cli() { redis-cli -e -s "$socket" "$@" >/dev/null; }
cleanup() {
    [ -S "$socket" ] && redis-cli -s "$socket" shutdown nosave >/dev/null 2>&1
    rm -f "$out/server.rdb"
}

# make NAME COMPRESSION LUA: in the script, i is the key's number and text(n) gives n random letters.
make() {
    [ -f "$out/$1.rdb" ] && return 0
    redis-server --port 0 --unixsocket "$socket" --dir "$out" --dbfilename server.rdb --save '' \
        --daemonize yes --rdbcompression "$2" --lua-time-limit 0 >/dev/null
    until redis-cli -s "$socket" ping >/dev/null 2>&1; do sleep 0.05; done
    cli eval "
        local pool = {}
        for i = 1, 20000 do pool[i] = string.char(math.random(33, 126)) end
        pool = table.concat(pool)
        local function text(n) local at = math.random(1, 20000 - n); return string.sub(pool, at, at + n - 1) end
        local c = redis.call
        $3" 0
    cli save
    redis-cli -s "$socket" shutdown nosave >/dev/null 2>&1 || true
    mv "$out/server.rdb" "$out/$1.rdb"
}
trap cleanup EXIT

make short no 'for i = 1, 2000000 do c("set", "key:" .. i, text(100)) end'
make long no 'for i = 1, 40000 do c("set", "key:" .. i, text(10240)) end'
make lzf yes 'for i = 1, 2000000 do c("set", "key:" .. i, string.rep(text(6), 20)) end'
make packed yes 'for i = 1, 150000 do
    local h, z = {}, {}
    for f = 1, 10 do
        h[2 * f - 1], h[2 * f] = "field:" .. f, i * f
        z[2 * f - 1], z[2 * f] = i * f / 7, "member:" .. f
    end
    c("hset", "hash:" .. i, unpack(h))
    c("zadd", "zset:" .. i, unpack(z))
end'
for name in short packed; do
    [ -f "$out/$name.rdb.gz" ] || gzip -1 -c "$out/$name.rdb" >"$out/$name.rdb.gz"
done
