#!/bin/bash
# A recovery by hand, as a careful admin would have it in a runbook: every step checked, as parallel as a shell
# can, nothing but curl, gunzip, redis-server, redis-check-rdb and redis-cli. The layout is thought out already:
#
#     runbook.sh FOLDER URL <layout
#
# A line per shard: DATABASE SLOTS|- AOF PASSWORD FILE ADDR PORT REPLICA_ADDR REPLICA_PORT. Slots: of a Redis
# Cluster. Servers get folders ADDR-PORT below FOLDER; what each step took is appended to FOLDER/steps as
# "STAGE SHARD START END".

set -euo pipefail
cd "$1"
url=$2
export REDISCLI_AUTH=runbook-admin
die() {
    echo "runbook: $*" >&2
    exit 1
}
now() { date +%s.%N; }
step() { # STAGE SHARD COMMAND...
    local start
    start=$(now)
    "${@:3}"
    echo "$1 $2 $start $(now)" >>steps
}
cli() { # ADDR PORT COMMAND...
    local reply
    reply=$(redis-cli --user admin --no-auth-warning -h "$1" -p "$2" "${@:3}") || die "no answer of $1:$2"
    case $reply in *ERR* | NO*) die "$1:$2 to $3: $reply" ;; esac
    printf '%s\n' "$reply"
}
field() { tr -d '\r' | sed -n "s/^$1://p"; }
until_is() { # ADDR PORT FIELD VALUE COMMAND...
    until [ "$(redis-cli --user admin --no-auth-warning -h "$1" -p "$2" "${@:5}" 2>&1 | field "$3")" = "$4" ]; do
        kill -0 "$(cat "$1-$2/redis.pid")" || die "$1:$2 has ended"
        sleep 0.1
    done
}

prepare() { # ADDR PORT SLOTS: nobody but us gets in, nothing is saved or evicted
    mkdir "$1-$2"
    cat >"$1-$2/users.acl" <<END
user default off
user admin on >$REDISCLI_AUTH ~* &* +@all
user copies on >runbook-copies +psync +sync +replconf +ping
END
    cat >"$1-$2/redis.conf" <<END
dir "$PWD/$1-$2"
bind $1
port $2
protected-mode no
daemonize yes
pidfile redis.pid
logfile server.log
aclfile users.acl
save ""
appendonly no
maxmemory 0
masteruser copies
masterauth runbook-copies
repl-diskless-sync yes
repl-diskless-sync-delay 0
END
    if [ "$3" != - ]; then
        cat >>"$1-$2/redis.conf" <<END
cluster-enabled yes
cluster-announce-ip $1
cluster-replica-no-failover yes
END
    fi
}

transfer() { # FILE ADDR PORT
    curl -fsS --retry 3 "$url$1" | gunzip >"$2-$3/dump.part"
    redis-check-rdb "$2-$3/dump.part" >"$2-$3/check"
    mv "$2-$3/dump.part" "$2-$3/dump.rdb"
}

load() { # ADDR PORT
    local there loaded
    (cd "$1-$2" && redis-server redis.conf)
    until_is "$1" "$2" loading 0 INFO persistence
    there=$(sed -n 's/.*\[info\] \([0-9]*\) keys read/\1/p' "$1-$2/check")
    loaded=$(cli "$1" "$2" INFO persistence | field rdb_last_load_keys_loaded)
    [ "$loaded" = "$there" ] || die "$1:$2 loaded $loaded of $there keys"
}

join() { # ADDR PORT SLOTS EPOCH: it has taken the slots of its keys; the others of its range are still free
    local first=${3%-*} last=${3#*-} slot free=
    declare -A taken
    for slot in $(cli "$1" "$2" CLUSTER NODES | sed -n 's/.*connected//p'); do
        for ((i = ${slot%-*}; i <= ${slot#*-}; i++)); do taken[$i]=1; done
    done
    for ((i = first; i <= last; i++)); do [ -n "${taken[$i]-}" ] || free+=" $i"; done
    # shellcheck disable=SC2086
    [ -z "$free" ] || cli "$1" "$2" CLUSTER ADDSLOTS $free >/dev/null
    cli "$1" "$2" CLUSTER SET-CONFIG-EPOCH "$4" >/dev/null
}

replicate() { # ADDR PORT SLOTS REPLICA_ADDR REPLICA_PORT
    local id
    if [ "$3" = - ]; then
        cli "$4" "$5" REPLICAOF "$1" "$2" >/dev/null
    else
        id=$(cli "$1" "$2" CLUSTER MYID)
        cli "$4" "$5" CLUSTER MEET "$1" "$2" >/dev/null
        until redis-cli --user admin --no-auth-warning -h "$4" -p "$5" CLUSTER REPLICATE "$id" 2>&1 |
            grep -q '^OK'; do sleep 0.1; done
    fi
    until_is "$4" "$5" master_link_status up INFO replication
    [ "$(cli "$1" "$2" DBSIZE)" = "$(cli "$4" "$5" DBSIZE)" ] || die "$4:$5 has other keys than $1:$2"
}

open() { # ADDR PORT AOF PASSWORD
    if [ "$3" = yes ]; then
        cli "$1" "$2" CONFIG SET appendonly yes >/dev/null
        until_is "$1" "$2" aof_rewrite_in_progress 0 INFO persistence
        until_is "$1" "$2" aof_rewrite_scheduled 0 INFO persistence
        [ "$(cli "$1" "$2" INFO persistence | field aof_last_bgrewrite_status)" = ok ] || die "no AOF at $1:$2"
    else
        cli "$1" "$2" CONFIG SET save '3600 1' >/dev/null
    fi
    cli "$1" "$2" CONFIG REWRITE >/dev/null
    cli "$1" "$2" ACL SETUSER default on resetpass ">$4" '~*' '&*' +@all >/dev/null
    cli "$1" "$2" ACL SAVE >/dev/null
    REDISCLI_AUTH=$4 redis-cli --no-auth-warning -h "$1" -p "$2" PING | grep -q PONG || die "$1:$2 is not open"
}

bring_up() { # one shard, as far as it can go without the others
    local shard=$6-$7
    step prepare "$shard" prepare "$6" "$7" "$2"
    step prepare "$shard" prepare "$8" "$9" "$2"
    step transfer "$shard" transfer "$5" "$6" "$7"
    step load "$shard" load "$6" "$7"
    [ "$2" = - ] || step open "$shard" join "$6" "$7" "$2" "${10}"
    (cd "$8-$9" && redis-server redis.conf)
    step open "$shard" replicate "$6" "$7" "$2" "$8" "$9"
}

all() { # the pids of background jobs: each must end well
    local pid
    for pid; do wait "$pid" || die "a step has failed"; done
}

mapfile -t layout
pids=()
for i in "${!layout[@]}"; do
    # shellcheck disable=SC2086
    bring_up ${layout[$i]} $((i + 1)) &
    pids+=($!)
done
all "${pids[@]}"

# Of each cluster, one node meets the others.
pids=()
first=
for line in "${layout[@]}"; do
    # shellcheck disable=SC2086
    set -- $line
    [ "$2" != - ] || continue
    [ -n "$first" ] || first="$6 $7"
    # shellcheck disable=SC2086
    [ "$first" = "$6 $7" ] || cli $first CLUSTER MEET "$6" "$7" >/dev/null
done
for line in "${layout[@]}"; do
    # shellcheck disable=SC2086
    set -- $line
    [ "$2" = - ] || {
        step open "$6-$7" until_is "$6" "$7" cluster_state ok CLUSTER INFO
        step open "$8-$9" until_is "$8" "$9" cluster_state ok CLUSTER INFO
    }
    step open "$6-$7" open "$6" "$7" "$3" "$4" &
    pids+=($!)
    step open "$8-$9" open "$8" "$9" "$3" "$4" &
    pids+=($!)
done
all "${pids[@]}"
