-- The state file of one recovery. Times end in _ms: milliseconds since 1970, UTC. Sizes are bytes.
-- Uids are the CCS's own (1, 1:1); labels put the kind before them (db:1).
-- Names and columns are only ever added.

CREATE TABLE meta (              -- facts of the whole recovery
    key   TEXT PRIMARY KEY,      -- schema_version (as PRAGMA user_version), recovery, created_ms, ccs_path, hosts_path, …
    value TEXT
) WITHOUT ROWID;

-- Secrets of the other tables, in which they are masked. Only ccs_entry has more of them.
CREATE TABLE secret (
    place TEXT NOT NULL,         -- table and column: 'target.password', 'host.spec', …; database.users:
                                 -- JSON, lines as of ACL LIST, made of the vendor's users and roles;
                                 -- survey.folders: JSON, those of --from-folders with their files
    id    TEXT NOT NULL,         -- key of the row
    value TEXT NOT NULL,         -- the secret, or the JSON that holds it
    PRIMARY KEY (place, id)
) WITHOUT ROWID;

-- The CCS file as it is, with its secrets: one row per string, list item, set or sorted-set member, hash field.
CREATE TABLE ccs_entry (
    entry_id   INTEGER PRIMARY KEY,
    db         INTEGER NOT NULL,
    key        NOT NULL,         -- text, or a blob where it is not UTF-8; so are field and value
    kind       TEXT NOT NULL,    -- string, list, set, zset, hash; stream, module: value not read
    field,                       -- hash: field
    value,
    score      REAL,             -- zset
    expires_ms INTEGER           -- of the key, or of the field
);
CREATE INDEX ccs_entry_key ON ccs_entry (key);

CREATE TABLE cluster (
    name       TEXT,
    rack_aware INTEGER NOT NULL DEFAULT 0,
    saved_ms   INTEGER,          -- when the CCS file was written, from the file itself
    format     TEXT NOT NULL     -- rdb, json, nodes.json
);

CREATE TABLE node (
    uid               TEXT PRIMARY KEY,
    addr              TEXT,
    external_addr     TEXT,
    rack              TEXT,
    second_rack       TEXT,
    status            TEXT,
    version           TEXT,
    persistent_path   TEXT,
    ephemeral_path    TEXT,
    recovery_path     TEXT,
    memory            INTEGER,
    cores             INTEGER,
    max_shards        INTEGER,
    accepts_shards    INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE database (
    uid               TEXT PRIMARY KEY,
    name              TEXT,
    type              TEXT NOT NULL DEFAULT 'redis',
    status            TEXT,
    redis_version     TEXT,
    sharded           INTEGER NOT NULL DEFAULT 0,
    replicated        INTEGER NOT NULL DEFAULT 0,
    rack_aware        INTEGER NOT NULL DEFAULT 0,
    active_active     INTEGER NOT NULL DEFAULT 0,
    slots_policy      TEXT NOT NULL DEFAULT '16k',  -- 16k, legacy
    primaries         INTEGER,
    memory_size       INTEGER,
    port              INTEGER,
    max_clients       INTEGER,
    eviction_policy   TEXT,
    persistence       TEXT NOT NULL DEFAULT 'none', -- none, snapshot, aof
    fsync_always      INTEGER NOT NULL DEFAULT 0,
    save_points       TEXT,                         -- JSON: [[seconds, changes], …]
    shards_placement  TEXT,
    password          TEXT,                         -- masked
    login_lost        INTEGER NOT NULL DEFAULT 0,   -- clients had to log in, in a way that is lost
    tls               INTEGER NOT NULL DEFAULT 0,
    tls_mixed         INTEGER NOT NULL DEFAULT 0, -- a second port spoke without TLS
    modules           TEXT,                         -- JSON: [name, …]
    backup_location   TEXT,                         -- JSON; secrets in it are masked
    backup_interval_s INTEGER,
    login             TEXT,                         -- open, password, off (named users only), unreadable, unknown
    client_certificates INTEGER NOT NULL DEFAULT 0, -- clients had to show one
    sentinels         TEXT                          -- JSON: the Sentinels that the hosts file asks for
);

CREATE TABLE shard (
    uid          TEXT PRIMARY KEY,
    database_uid TEXT NOT NULL,  -- may name a database that the CCS lacks: then there is a finding
    node_uid     TEXT,
    role         TEXT NOT NULL,  -- primary, replica
    slots        TEXT NOT NULL,  -- open slots: 0-5460,6000
    port         INTEGER
);
CREATE INDEX shard_database ON shard (database_uid);

CREATE TABLE endpoint (
    uid          TEXT PRIMARY KEY,
    database_uid TEXT NOT NULL,
    port         INTEGER,
    addr         TEXT,
    dns_name     TEXT,
    proxy_policy TEXT,
    proxy_uids   TEXT
);

CREATE TABLE proxy (
    uid         TEXT PRIMARY KEY,
    threads     INTEGER,
    max_threads INTEGER,
    log_level   TEXT
);

CREATE TABLE user (
    uid       TEXT PRIMARY KEY,
    name      TEXT,
    email     TEXT,
    role_uids TEXT,
    status    TEXT
);

CREATE TABLE finding (
    finding_id INTEGER PRIMARY KEY,
    severity   TEXT NOT NULL,    -- error, warning, info
    code       TEXT NOT NULL,
    message    TEXT NOT NULL,
    keys       TEXT NOT NULL     -- JSON: the CCS keys it is about
);

CREATE TABLE host (
    name     TEXT PRIMARY KEY,
    position INTEGER NOT NULL,   -- in hosts.json
    addr     TEXT NOT NULL,
    rack     TEXT,
    link     TEXT NOT NULL,
    base_dir TEXT NOT NULL,
    server   TEXT NOT NULL,
    spec     TEXT NOT NULL,      -- JSON: its entry of hosts.json; secrets are masked
    facts    TEXT,               -- JSON: what the last probe found
    error    TEXT                -- JSON: why it could not be probed
);

CREATE TABLE host_key (          -- accepted as new by --accept-new-host-keys
    line        TEXT PRIMARY KEY, -- as in known_hosts
    host        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    accepted_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE backup_set (        -- what the locations hold, chosen or not
    set_id       INTEGER PRIMARY KEY,
    database_uid TEXT NOT NULL,
    location     TEXT NOT NULL,  -- without secrets
    name         TEXT NOT NULL,
    time_ms      INTEGER,
    complete     INTEGER NOT NULL,
    chosen       INTEGER NOT NULL,
    reason       TEXT            -- why it is incomplete
);

CREATE TABLE backup_file (
    file_id INTEGER PRIMARY KEY,
    set_id  INTEGER NOT NULL REFERENCES backup_set ON DELETE CASCADE,
    name    TEXT NOT NULL,
    bytes   INTEGER,             -- as stored
    slots   TEXT NOT NULL,
    sha256  TEXT,                -- of the stored bytes, as its manifest says
    head    TEXT,                -- JSON: RDB version and aux fields
    kind    TEXT,                -- of a file on a disk: rdb, aof, aof-folder
    place   TEXT,                -- its host or old node, and path: a1:/data/redis/redis-1.rdb
    time_ms INTEGER              -- of what it holds
);

CREATE TABLE plan (
    plan_id     INTEGER PRIMARY KEY,
    hash        TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    document    TEXT NOT NULL    -- JSON, as `plan --json` prints it
);

CREATE TABLE target (            -- the databases that the plan rebuilds
    database_uid TEXT PRIMARY KEY,
    name         TEXT,
    state        TEXT NOT NULL,  -- planned, skipped, running, done, failed
    reason       TEXT,           -- why skipped
    location     TEXT,           -- JSON; secrets are masked
    set_name     TEXT,
    set_time_ms  INTEGER,
    maxmemory    INTEGER NOT NULL DEFAULT 0,
    password     TEXT,           -- masked: of its clients from now on
    opened_ms    INTEGER,
    generation   INTEGER NOT NULL DEFAULT 0, -- how often it was started again after the loss of a host
    replication_password TEXT,   -- masked: from generation 1 on its own, else that of the recovery
    client_rules TEXT,           -- what the user default may do: all, data (as behind a proxy)
    admin_password TEXT          -- masked: of the user admin, if default may not do all
);

CREATE TABLE placement (         -- the shards that the plan rebuilds, and the state of each
    shard_uid    TEXT PRIMARY KEY,
    database_uid TEXT NOT NULL REFERENCES target,
    position     INTEGER NOT NULL,
    role         TEXT NOT NULL,  -- primary, replica
    primary_uid  TEXT,           -- of a replica
    host         TEXT NOT NULL REFERENCES host,
    addr         TEXT NOT NULL,
    port         INTEGER NOT NULL,
    bus_port     INTEGER NOT NULL,
    other_port   INTEGER NOT NULL DEFAULT 0, -- for clients only: with TLS if port is without, and the reverse; 0: none
    tls          INTEGER,        -- whether port speaks TLS; NULL: not known
    dir          TEXT NOT NULL,
    slots        TEXT NOT NULL,
    memory       INTEGER NOT NULL,
    file         TEXT,           -- name in the location; of a replica only if it loads it itself
    file_bytes   INTEGER,
    file_sha256  TEXT,           -- of the stored bytes, if its set has a manifest
    sources      TEXT,           -- JSON: of files on disks, where each is: {name, where, kind, host or
                                 -- location (secrets are masked), folder, parts, next}
    files        TEXT,           -- JSON: {name, bytes, sha256} of each, if it is made of several or a part
    node_id      TEXT,           -- of Redis Cluster
    state        TEXT NOT NULL DEFAULT 'planned', -- planned, prepared, fetched, loaded, in-step, open, failed
    facts        TEXT,           -- JSON: what the scan of the file found
    loaded       TEXT,           -- JSON: the answer of load_shard or attach_replica
    keys         INTEGER
);
CREATE INDEX placement_primary ON placement (primary_uid);

CREATE TABLE moved (             -- where shards were before their host was lost
    moved_id     INTEGER PRIMARY KEY,
    at_ms        INTEGER NOT NULL,
    shard_uid    TEXT NOT NULL,
    database_uid TEXT NOT NULL REFERENCES target,
    generation   INTEGER NOT NULL, -- of the database, at that time
    host         TEXT NOT NULL REFERENCES host,
    addr         TEXT NOT NULL,
    port         INTEGER NOT NULL,
    bus_port     INTEGER NOT NULL,
    dir          TEXT NOT NULL,
    removed_ms   INTEGER           -- when its leftovers were removed
);

-- Rule: commit the intent (running), act, commit the outcome (done, failed).
CREATE TABLE task (
    task_id      INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL,
    stage        INTEGER NOT NULL, -- 1 prepare, 2 transfer, 3 load, 4 open
    gate         INTEGER NOT NULL, -- starts when all tasks of its database with lower gates are done
    host         TEXT,
    database_uid TEXT,
    shard_uid    TEXT,
    state        TEXT NOT NULL DEFAULT 'pending', -- pending, running, done, failed
    attempts     INTEGER NOT NULL DEFAULT 0,
    started_ms   INTEGER,
    ended_ms     INTEGER,
    result       TEXT,             -- JSON
    error        TEXT,             -- JSON: name, message, hint
    bytes_done   INTEGER,          -- while it runs, once a second
    bytes_total  INTEGER,
    progress     TEXT,             -- its phase: fetching, loading, …
    progress_ms  INTEGER,          -- time of that report
    params       TEXT              -- JSON: parameters of its call that no other table has; then host is
                                   -- the task's own, not that of its shard
);
CREATE INDEX task_shard ON task (shard_uid);

CREATE TABLE task_wait (           -- what else must be done before task_id starts
    task_id   INTEGER NOT NULL REFERENCES task,
    waits_for INTEGER NOT NULL REFERENCES task,
    PRIMARY KEY (task_id, waits_for)
) WITHOUT ROWID;

CREATE TABLE event (
    event_id     INTEGER PRIMARY KEY,
    at_ms        INTEGER NOT NULL,
    severity     TEXT NOT NULL,
    code         TEXT NOT NULL,
    database_uid TEXT,
    shard_uid    TEXT,
    host         TEXT,
    stage        TEXT,
    message      TEXT NOT NULL,
    detail       TEXT              -- JSON
);
