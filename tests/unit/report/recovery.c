#include "recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

const char recovery_plan[] =
    "{\"hash\": \"0123456789abcdef0123456789abcdef\", \"feasible\": true, \"databases\": ["
    "{\"uid\": \"1\", \"label\": \"db:1\", \"name\": \"shop\", \"source\": "
    "\"https://backup.example.com/shop\","
    " \"backup_set\": {\"id\": \"20260131-120000\", \"time\": \"2026-01-31T12:00:00Z\", \"age_s\": "
    "3600, \"files\": [{\"name\": \"a.rdb.gz\", \"bytes\": 1048576}, {\"name\": \"b.rdb.gz\","
    " \"bytes\": 2097152}]}, \"shards\": ["
    "{\"uid\": \"1\", \"role\": \"primary\", \"host\": \"a1\", \"port\": 12000},"
    "{\"uid\": \"2\", \"role\": \"primary\", \"host\": \"b1\", \"port\": 12000},"
    "{\"uid\": \"3\", \"role\": \"replica\", \"host\": \"b1\", \"port\": 12001},"
    "{\"uid\": \"4\", \"role\": \"replica\", \"host\": \"a1\", \"port\": 12001}],"
    " \"endpoints\": [{\"addr\": \"10.0.0.11\", \"port\": 12000}, {\"addr\": \"10.0.0.12\","
    " \"port\": 12000}]},"
    "{\"uid\": \"2\", \"label\": \"db:2\", \"name\": \"one\", \"backup_set\": {\"time\": "
    "\"2026-01-31T11:00:00Z\","
    " \"age_s\": 7200, \"files\": [{\"name\": \"c.rdb\", \"bytes\": 1000}]}, \"shards\": ["
    "{\"uid\": \"5\", \"role\": \"primary\", \"host\": \"c1\", \"port\": 13000}], \"endpoints\": "
    "[]},"
    "{\"uid\": \"3\", \"label\": \"db:3\", \"name\": \"cache\", \"skipped\": \"memcached can't be "
    "recovered from RDB files\","
    " \"shards\": [], \"endpoints\": []}],"
    "\"hosts\": [{\"name\": \"a1\", \"rack\": \"a\", \"memory\": 8589934592, \"planned_memory\": "
    "4294967296}, {\"name\": \"b1\", \"rack\": \"b\", \"memory\": 8589934592, \"planned_memory\": "
    "6442450944}, {\"name\": \"c1\", \"rack\": null, \"memory\": 4294967296, \"planned_memory\": "
    "1073741824}],"
    "\"stages\": [{\"stage\": \"prepare\", \"bytes\": 0, \"seconds\": 1.5}, {\"stage\": "
    "\"transfer\","
    " \"bytes\": 3146728, \"seconds\": 4}, {\"stage\": \"load\", \"bytes\": 9000000, \"seconds\": "
    "12},"
    " {\"stage\": \"open\", \"bytes\": 0, \"seconds\": 3}],"
    "\"blockers\": [], \"warnings\": [{\"code\": \"thp\", \"message\": \"transparent huge pages "
    "are on:"
    " forks of a large server will take longer and use more memory than they need\","
    " \"hint\": \"Write never into /sys/kernel/mm/transparent_hugepage/enabled.\", \"database\": "
    "null,"
    " \"host\": \"a1\"}]}";

void recovery_sql(struct state *st, const char *sql)
{
    struct err err = ERR_INIT;

    if (state_run(st, &err, sql, "") < 0)
        fail_msg("%s: %.300s", err.message, sql);
}

static void add_ccs(struct state *st)
{
    struct err err = ERR_INIT;

    recovery_sql(st, "INSERT INTO cluster VALUES ('prod <east>', 1, 1769864400000, 'rdb')");
    assert_int_equal(
        state_run(st, &err,
            "INSERT INTO database (uid, name, sharded, password, backup_location) VALUES"
            " ('1', ?, 1, '" CANARY "', '{\"secret_access_key\": \"" CANARY "\"}')",
            "s", HOSTILE_NAME),
        0);
    recovery_sql(st, "INSERT INTO database (uid, name) VALUES ('2', 'one'), ('3', 'cache')");
    recovery_sql(st, "INSERT INTO ccs_entry (db, key, kind, field, value) VALUES"
                     " (0, 'bdb:1', 'hash', 'authentication_redis_pass', '" CANARY "')");
    recovery_sql(st,
        "INSERT INTO finding (severity, code, message, keys) VALUES"
        " ('info', 'fields-unknown', 'fields that are not known were kept', '[]'),"
        " ('error', 'slots-missing', 'slots <5461> of db:1 have no primary', '[\"bdb:1\"]')");
    recovery_sql(st,
        "INSERT INTO host (name, position, addr, rack, link, base_dir, server, spec) VALUES"
        " ('a1', 0, '10.0.0.11', 'a', 'ssh', '/r', 'redis-server', '{\"password\": \"" CANARY
        "\"}'),"
        " ('b1', 1, '10.0.0.12', 'b', 'ssh', '/r', 'redis-server', '{}'),"
        " ('c1', 2, '10.0.0.13', NULL, 'ssh', '/r', 'redis-server', '{}')");
}

static void add_targets(struct state *st)
{
    struct err err = ERR_INIT;

    assert_int_equal(
        state_run(st, &err,
            "INSERT INTO target (database_uid, name, state, location, set_name, set_time_ms,"
            " opened_ms) VALUES ('1', ?, 'done', '{\"type\": \"s3\", \"secret_access_key\": "
            "\"" CANARY "\"}', '20260131-120000', 1769860800000, 1769864415000)",
            "s", HOSTILE_NAME),
        0);
    recovery_sql(st,
        "INSERT INTO target (database_uid, name, state, reason, set_name, set_time_ms,"
        " opened_ms) VALUES"
        " ('2', 'one', 'done', NULL, 'folder', 1769857200000, 1769864412000),"
        " ('3', 'cache', 'skipped', 'memcached can''t be recovered', NULL, NULL, NULL)");
    recovery_sql(st,
        "INSERT INTO backup_set (set_id, database_uid, location, name, time_ms, complete,"
        " chosen) VALUES (1, '1', 'https://backup.example.com/shop', '20260131-120000',"
        " 1769860800000, 1, 1)");
}

static void add_placement(struct state *st)
{
    recovery_sql(st,
        "INSERT INTO placement (shard_uid, database_uid, position, role, primary_uid, host, addr, "
        "port,"
        " bus_port, dir, slots, memory, file, file_bytes, state, facts, loaded, keys) VALUES"
        " ('1', '1', 0, 'primary', NULL, 'a1', '10.0.0.11', 12000, 22000, 'd', '0-8191', 1,"
        " 'a.rdb.gz', 1048576, 'open', '{\"rdb_version\": 10, \"bytes\": 3000000, \"keys\": 1000,"
        " \"expires\": 50, \"expired\": 3, \"checksum\": \"ok\", \"sha256\": "
        "\"aabbccddeeff00112233\","
        " \"slots\": {\"covered\": 2, \"ranges\": [[0,1]]}}', '{\"keys_loaded\": 997, "
        "\"keys_expired\": "
        "3, \"load_ms\": 1200, \"server_version\": \"7.0.15\"}', 997),"
        " ('2', '1', 1, 'primary', NULL, 'b1', '10.0.0.12', 12000, 22000, 'd', '8192-16383', 1,"
        " 'b.rdb.gz', 2097152, 'open', '{\"bytes\": 6000000, \"keys\": 2000, \"checksum\": "
        "\"absent\"}',"
        " '{\"keys_loaded\": 2000, \"keys_expired\": 0}', 2000),"
        " ('3', '1', 2, 'replica', '1', 'b1', '10.0.0.12', 12001, 22001, 'd', '0-8191', 1, "
        "'a.rdb.gz',"
        " 1048576, 'in-step', NULL, '{\"keys\": 997, \"sync_full\": 0, \"sync_partial\": 1}', 997),"
        " ('4', '1', 3, 'replica', '2', 'a1', '10.0.0.11', 12001, 22001, 'd', '8192-16383', 1,"
        " 'b.rdb.gz', 2097152, 'in-step', NULL, '{\"keys\": 2000, \"sync_full\": 1}', 2000),"
        " ('5', '2', 4, 'primary', NULL, 'c1', '10.0.0.13', 13000, 0, 'd', '0-16383', 1, 'c.rdb',"
        " 1000, 'open', '{\"bytes\": 1000, \"keys\": 10, \"checksum\": \"ok\"}', "
        "'{\"keys_loaded\": 10,"
        " \"keys_expired\": 0}', 10)");
}

static void add_tasks(struct state *st)
{
    recovery_sql(st,
        "INSERT INTO task (kind, stage, gate, host, database_uid, shard_uid, state, attempts, "
        "started_ms,"
        " ended_ms) VALUES"
        " ('lock_host', 1, 1, 'a1', NULL, NULL, 'done', 1, 1769864400000, 1769864400300),"
        " ('lock_host', 1, 1, 'b1', NULL, NULL, 'done', 1, 1769864400000, 1769864400400),"
        " ('lock_host', 1, 1, 'c1', NULL, NULL, 'done', 1, 1769864400000, 1769864400200),"
        " ('prepare_shard', 1, 1, 'a1', '1', '1', 'done', 1, 1769864400300, 1769864400900),"
        " ('fetch', 2, 2, 'a1', '1', '1', 'done', 2, 1769864400900, 1769864403000),"
        " ('load_shard', 3, 3, 'a1', '1', '1', 'done', 1, 1769864403000, 1769864407000),"
        " ('open_shard', 4, 4, 'a1', '1', '1', 'done', 1, 1769864414000, 1769864415000),"
        " ('prepare_shard', 1, 1, 'b1', '1', '2', 'done', 1, 1769864400400, 1769864401000),"
        " ('fetch', 2, 2, 'b1', '1', '2', 'done', 1, 1769864401000, 1769864405000),"
        " ('load_shard', 3, 3, 'b1', '1', '2', 'done', 1, 1769864405000, 1769864411000),"
        " ('open_shard', 4, 4, 'b1', '1', '2', 'done', 1, 1769864414000, 1769864415000),"
        " ('prepare_shard', 1, 1, 'b1', '1', '3', 'done', 1, 1769864400500, 1769864401100),"
        " ('fetch', 2, 2, 'b1', '1', '3', 'done', 1, 1769864401100, 1769864403200),"
        " ('attach_replica', 4, 4, 'b1', '1', '3', 'done', 1, 1769864407000, 1769864411500),"
        " ('attach_replica', 4, 4, 'a1', '1', '4', 'done', 1, 1769864411000, 1769864413500),"
        " ('prove_database', 4, 4, NULL, '1', NULL, 'done', 1, 1769864413500, 1769864414000),"
        " ('prepare_shard', 1, 1, 'c1', '2', '5', 'done', 1, 1769864400200, 1769864400700),"
        " ('fetch', 2, 2, 'c1', '2', '5', 'done', 1, 1769864400700, 1769864401500),"
        " ('load_shard', 3, 3, 'c1', '2', '5', 'done', 1, 1769864401500, 1769864402500),"
        " ('open_shard', 4, 4, 'c1', '2', '5', 'done', 1, 1769864411500, 1769864412000)");
}

struct state *recovery_new(const char *state)
{
    struct state *st;
    struct err err = ERR_INIT;

    if (state_open("", STATE_MEMORY, &st, &err) < 0)
        fail_msg("%s", err.message);
    add_ccs(st);
    if (state_run(st, &err, "INSERT INTO plan (hash, created_ms, document) VALUES ('h', 1, ?)", "s",
            recovery_plan) < 0)
        fail_msg("%s", err.message);
    if (!state)
        return st;
    add_targets(st);
    add_placement(st);
    add_tasks(st);
    recovery_sql(st,
        "INSERT INTO event (at_ms, severity, code, host, message, detail) VALUES"
        " (1769864400000, 'info', 'recovery-started', NULL, 'recovery <started>', NULL),"
        " (1769864402000, 'warning', 'task-retried', 'a1', 'fetch of shard:1 is tried again',"
        " '{\"password\": \"" CANARY "\"}')");
    assert_int_equal(state_set_meta(st, "state", state, &err), 0);
    assert_int_equal(state_set_meta(st, "started_ms", "1769864400000", &err), 0);
    assert_int_equal(state_set_meta(st, "ended_ms", "1769864415400", &err), 0);
    return st;
}
