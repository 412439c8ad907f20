#ifndef RECLUSTER_PROTOCOL_H
#define RECLUSTER_PROTOCOL_H

/*
 * The methods of a host's agent (src/agent), which the operator's side (src/recover) calls by
 * rpc.h. The two sides share nothing else.
 *
 * Every method first checks what is already done and does only the rest. So it may be called again
 * at any time, also after a crash in the middle of it. Each call runs in a child process of the
 * agent. When the link ends, the agent and these children end; servers keep running. "!" marks what
 * a call changes on the host, "?" what may be left out.
 *
 * Folders of a host, all below its base_dir:
 *
 *     lock                      flock: one recovery at a time; names the holder and the time
 *     recovery.json             which recovery this folder belongs to
 *     prepared.json             which of the admin's commands were run
 *     agent/                    agents that were sent here (no method changes them)
 *     <dir>/                    one for each shard, e.g. db-1/shard-4
 *         incoming/NAME.part    a file that is being fetched
 *         incoming/NAME         a verified backup file; servers never write to it
 *         shard.json            the parameters of prepare_shard, which writes it last; later also
 *                               the marks configured, opened, sealed
 *         redis.conf  users.acl  nodes.conf  dump.rdb  appendonlydir/  redis.sock  redis.pid
 *         server.log
 *
 * Common parameters: "base_dir", "recovery" (the recovery's id), and for methods of a shard "dir"
 * (relative to base_dir). A base_dir or shard of another recovery is refused with ERR_CHECK.
 *
 *   hello {"protocol": 1}
 *       -> {"protocol": 1, "version": "0.1.0", "pid": n}
 *
 *   probe {"base_dir", "addr", "server", "now_ms" (the operator's clock)?, "modules"? (of the hosts
 *           file), "types"? (of modules, that the files hold), "run_as"?,
 *           "wanted"? ({label: {"settings": {name: value}, "users": [lines of ACL LIST]}}),
 *           "folders"? ({uid: {"location", "names"}}), "reach"? ([{"addr", "port"}] of other
 *           hosts)}
 *       -> {"memory_total", "memory_available", "disk_free", "disk_total" (of base_dir's disk),
 *           "cores", "load1", "uid" (of the link's user), "overcommit": 0|1|2,
 *           "thp": "always|madvise|never|unknown", "nofile" (how many files a server may open),
 *           "clock_ms", "clock_skew_ms" (here minus there), "machine": id,
 *           "servers": [{"pid", "name"}] (all servers of Redis and Valkey),
 *           "supervisor": "system|user" (servers become systemd units), "none" (they become
 *               daemons) or "none, no linger" (daemons, but systemd ends the processes of a user
 *               with the last login),
 *           "server": {"path", "kind": "redis|valkey", "version": "7.0.15", and the results of a
 *               short trial run in its own folder below TMPDIR or /tmp: "modules": [names],
 *               "types": {"vectorset": true}, from 7.0 on "nodes_conf": whether it accepts a
 *               prepared nodes.conf, "cluster_databases": whether a cluster may have several
 *               databases, "wanted": {label: {"at_start", "later": {name: value} of the settings that
 *               it takes in its configuration, or while it runs, "refused": {name: why},
 *               "refused_users": {name: why}}}; or "trial_error": {…}} or {"error": {…}},
 *           "unseen": {uid: {"error"}} of the folders that cannot be read,
 *           "silent": those of "reach" that do not answer (a refusal is an answer),
 *           "listening": [ports that addr cannot use], "addr_local": bool,
 *           "base_dir": {"state": "absent|empty|recovery|foreign|unsafe" (unsafe: other users may
 *               change it), "recovery", "operator", "since" (of a recovery), "detail",
 *               "locked_by": {"operator", "since"}?}}
 *
 *   measure {"base_dir", "location"?, "name"? (of a file there)}
 *       -> {"disk": {"write", "read" (bytes a second), "bytes"} or {"error": {…}},
 *           "network"?: {"read" (bytes a second), "bytes"} or {"error": {…}}}
 *       Writes for about 1.5 s to a file without a name (or one whose name is removed at once), and
 *       reads it back: at most 256 MiB and a twentieth of the free space. Reads the backup file for
 *       about 2 s: at most 128 MiB. Leaves nothing behind, however it ends.
 *
 *   knock {"addresses": [{"addr", "port"}]}
 *       -> {"answers": ["open" | "refused" | "silent" | "unasked", …]}, one for each, in that order
 *       Whether anything accepts connections there, seen from this host.
 *
 *   record {"sources": [{"addr", "port", "name"?}] (servers that have the shard, best first),
 *           "login"?: {"user"?, "password"}, "tls"?: {"ca"?, "cert"?, "key"? (text
 *               of files in PEM), "any_name"?},
 *           "witness"? (an object that must be at the location: it is the one that is meant),
 *           "alone"?: bool (without a stream: the data set is the cut),
 *           "location", "name" (of the file to write), "compress": "none|gzip|zstd",
 *           "recipients"? (public keys: the file is encrypted for them, see sealed.h),
 *           "spool"? (a folder for the stream meanwhile), "spool_max"? (bytes),
 *           "limit_rate"? (bytes a second of the data set),
 *           "files"?: [path of a base, path of what came after it] (which a server on this host has
 *               made: they are read instead of "sources"),
 *           "rdb"?: {"server", "run_as"?, "modules"?} (the file shall be a plain RDB file, which this
 *               server makes)}
 *       progress {"bytes" (of the data set), "stream_bytes"}
 *       based {"repl_id", "offset", "db", "bytes", "facts" (rdb_scan.h)}: the data set has arrived
 *           (of "files": bytes and facts alone)
 *       <- cut {"repl_id", "offset"}: where the file shall end
 *       written {"bytes", "plain_bytes", "sha256", "stream_bytes", "commands", "keys"? (with "rdb")}:
 *           all of the file is at the location, where nobody can see it yet
 *       <- commit {}; <- stop {}
 *       -> {}
 *       Reads from a running server as a replica does (repl.h); changes nothing on the host. ! the
 *       file at the location: an RDB file, followed by the commands that came after it. If the call
 *       ends earlier, nothing is left there.
 *
 *   archive {"sources", "login"?, "tls"?, "witness"?, "location", "recipients"?, "compress" (as of record), "prefix" (of the
 *           names: "1-4", database and shard), "spool" (a folder of this shard alone), "spool_max"?,
 *           "segment_ms", "segment_bytes" (a segment is closed when it is so old or so large),
 *           "from"?: {"repl_id", "offset", "db"} (where the stream goes on if the folder has less)}
 *       began {"repl_id", "offset"} or {}: where the stream goes on that an earlier call has begun
 *       progress {"repl_id", "offset" (that was received), "waiting" (bytes for the location)}
 *       <- base {}: a data set is wanted. The first call begins with one by itself.
 *       base {"name", "repl_id", "offset", "bytes", "plain_bytes", "sha256", "facts"}: it is there
 *       no_base {"error"}: it is not; the stream goes on
 *       segment {"name", "repl_id", "first", "last", "db"? (of what comes next), "bytes",
 *           "plain_bytes", "sha256"}: it is there
 *       trouble {"error"}: the location fails; it is tried again
 *       <- stop {}: what was received is still sent to the location
 *       Runs until it is stopped. ERR_CHANGED: no server has the stream from there on any more;
 *       ERR_SPACE: the location was away for too long. The next call then begins anew, behind a gap. ! objects base-<prefix>-<id>-<offset>.rdb.zst and
 *       stream-<prefix>-<id>-<first>-<last>.zst at the location; the folder. A segment is a SELECT
 *       of its database and the bytes of the stream.
 *
 *   old_servers {"listen": [{"addr", "port"}]} (of the old cluster, on this machine)
 *       -> {"found": [{"pid", "started", "name", "unit" (of systemd) or null} or {"closed": true}
 *           or {"error": {…}}]}, one for each
 *       An error if the address does not belong to this machine, or if the process is not visible,
 *       is neither a server of Redis or Valkey nor their proxy, or shares its unit with other
 *       programs.
 *
 *   fence {"addr", "port", "pid", "started", "name", "unit"} (from old_servers)
 *       -> {"was_running": bool, "unit_off": "masked|disabled" or null}
 *       ! a unit is masked (if that is impossible, disabled) and stopped. Without a unit the
 *       process gets SIGTERM, and nothing stronger. Waits up to 5 minutes for the end of the
 *       process, then makes sure for a while that nothing listens there. ERR_CHANGED if another
 *       process listens now. Does nothing if the port is closed already.
 *
 *   lock {"base_dir", "recovery", "operator": "user@host pid n"}
 *       -> {}                    ! makes base_dir, holds the lock as long as the agent lives
 *       ERR_LOCKED names the holder. ERR_CHECK if the folder holds anything that is not ours.
 *
 *   prepare_host {"base_dir", "commands": [text]}
 *       -> {"already": bool, "done": [{"command", "output", "ms"}]}
 *       ! runs the admin's commands by `sh -c`, one after the other, each once in a recovery.
 *       base_dir/prepared.json lists the commands that succeeded. The next call runs a failed one
 *       again.
 *
 *   prepare_shard {"dir", "server", "addr", "port", "bus_port" (0: no cluster), "other_port"? (a
 *           second port for clients, with TLS if "port" is without, and the reverse; 0: none),
 *           "database",
 *           "shard", "role": "primary|replica", "primary": {"addr", "port"} (replica, not sharded),
 *           "nodes_conf"? (text, sharded), "recovery_password", "replication_password",
 *           "repl_backlog_bytes", "databases"? (how many the server gets), "modules"?, "run_as"?,
 *           "settings"? ({name: value}, for redis.conf), "announce_hostname"?,
 *           "announce"? ({"addr", "port"?, "other_port"?, "bus_port"?}: where others reach it, if it
 *           is elsewhere; a port that is left out is as here),
 *           "tls"? ({"cert", "key", "ca": text of a PEM file or {"path"}, "clients":
 *           "yes|no|optional", whether they show certificates; "inside"?: false if "port" and the
 *           servers among themselves are without it}),
 *           "fast_load"?: bool, "generation"?: n}
 *       -> {}                    ! folder, redis.conf, users.acl, nodes.conf
 *       Clients are locked out: user default is off. "recluster" may do everything. "replication",
 *       which may replicate, is off until the data was checked. Saving, AOF, eviction and memory
 *       limit are off. ERR_CHECK if the port is taken. If a server runs, or after configure, the
 *       files are not changed. If they are of an earlier generation, the server is stopped and
 *       everything but incoming/ is removed; if that shard is open, the call fails with ERR_CHECK
 *       instead. Needs Redis 6.0 or Valkey.
 *
 *   list_files {"paths": [absolute folders]}
 *       -> {"folders": [{"path", "files": (disk_files.h)} or {"path", "error", "code"}]}
 *
 *   read_file {"folder", "name", "offset", "length", "stream"}
 *       -> {}                    the bytes come before the answer (relay.h)
 *
 *   fetch {"dir", "location" or "relay" (its label; the bytes come by relay.h), "name" (in the
 *           location), "bytes" (-1: any), "sha256"? (of the stored bytes), "kind"? ("rdb", "aof",
 *           "aof-folder", "aof-parts"), "parts"? (catalogue.h),
 *           "more"?: [{"location" or "relay", "name", "bytes", "take", …}] (files whose keys are
 *           joined with those of the first),
 *           "take"? (only keys of these slots are taken from this file; JSON ranges),
 *           "as" (file name in incoming/), "slots" (JSON ranges; keys elsewhere are refused) or
 *           null, "databases"? (how many its server can have), "rdb_version_max",
 *           "valkey_ok": bool, "samples": n, "seed": n,
 *           "cut"?: bool (keys of other slots are left out instead), "stamp"?: bool (pull.h),
 *           "land"?: bool (the server loads the file during the fetch, if it can),
 *           "limit_rate"? (bytes a second), "shift_expiry_ms"? (keys expire so much later), "aof_commands"? (that append-only files may hold beside
 *           data: ["EVAL"]), "aof_errors"?: bool (they may hold commands that the server refuses),
 *           "with"?: [{"dir", "as", "slots", …}] (other shards that need parts of these files)}
 *       progress {"bytes", "total"}
 *       -> the facts of pull.h, and "aof"?: [content of append-only files: {"name", "bytes",
 *           "commands", "preamble": bool, "dropped": {"file", "offset", "bytes"} (the tail that was
 *           cut off) or null, "errors": n (-1: not counted), "error_names"}]
 *       or, with "with" -> {"shards": [{"facts"} or {"error"}, …]}, beginning with the shard "dir".
 *       All are cut in one pass over the files; each is accepted or refused separately.
 *       ! incoming/<as>. For an append-only file it is the snapshot that a server of this host
 *       made. Bytes that came before a transfer was cut off are not fetched again (pull.h, resume).
 *       A file that is there already is verified instead of fetched; a bad one is moved aside.
 *       ERR_CHECK for keys of other slots, for databases or modules that the server lacks (it is
 *       started for a moment and asked), and for versions that it cannot read. The file then does
 *       not get its final name.
 *
 *   load_shard {"dir", "as" (null: starts empty), "keys": n (of the scan; -1 unknown),
 *           "expires": n, "field_expires"? (hashes with fields that expire), "databases"? (how many
 *           the server gets), "backlog_bytes"? (to keep for replicas, if more than usual),
 *           "cluster"?: {"epoch", "slots", "meet"?: {"addr", "port", "bus_port"}} (sharded, without
 *           nodes_conf: set by CLUSTER commands)}
 *       progress {"phase": "starting|loading", "bytes"?, "total"?}
 *       -> {"keys_loaded", "keys_expired", "keys_by_db": {"0": n}, "used_memory", "pid",
 *           "started_ms", "load_ms" (-1: already), "server_version", "already": bool,
 *           "landed"?: true (the load began during the fetch and covers the whole file),
 *           "check": "exact" | "range" (the server started from its own files, not the backup; or
 *           it is a replica whose primary has removed keys since) | "none" (opened)}
 *       ! hard link dump.rdb, the server. A server that runs already is only checked; "already" is
 *       then true. A server that fetch started is waited for; if its content differs from the file,
 *       it is ended and started again. A primary then accepts replicas. A replica starts in the
 *       same way, from an equal file with a stamp; it keeps expired keys until its primary removes
 *       them. If loaded + expired differs from keys, the server is stopped: ERR_CHECK. Hashes that
 *       may be gone with their last field count as expired. An opened shard is started from its own
 *       files, and its keys are not compared with the backup, because clients write.
 *
 *   attach_replica {"dir", "primary": {"addr", "port"}, "keys"?, "expires"? (of the backup),
 *           "repl_id"? (stamp of the file that it loaded), "databases"? (as in load_shard),
 *           "meet"?: {"addr", "port", "bus_port"} (of the primary; sharded, without nodes_conf),
 *           "password"? (of the database, if the primary is sealed)}
 *       progress {"phase": "loading|sync|catching-up", "bytes", "total"}
 *       -> {"keys", "keys_by_db", "offset", "sync_full": 0|1 (its data is a copy that its primary
 *           sent), "sync_partial": 0|1 (it loaded its data itself), "pid", "already"}
 *       ! starts the server of a replica, if it does not run yet. Waits until its link is up and
 *       its offset is that of the primary. Then both must have the same number of keys in each
 *       database.
 *
 *   shard_status {"dir", "password"? (of the database, if the shard is sealed), "samples"?: [{"db",
 *           "key" (hex), "kind"}]}
 *       -> {"prepared": bool, "configured": bool, "sealed": bool, "running": bool, "pid", "role",
 *           "loading": bool, "keys_by_db", "keys", "used_memory", "link_up": bool (replica),
 *           "offset", "replicas": n, "cluster_state", "slots_ok", "known_nodes",
 *           "appendonly": bool, "maxmemory", "open": bool (user default is on), "uptime_s",
 *           "version", "samples_ok"?: n, "unit"?: {"name", "state"} (from systemctl)}
 *       A sample that is missing or of another kind is ERR_CHECK, unless the shard is open to
 *       clients. If the server does not run, "log" (its last lines) replaces the members after
 *       "running". What is not known is left out: during a load, or without the password of a
 *       sealed shard.
 *
 *   configure {"dir", "maxmemory" (0: none), "maxmemory_policy", "maxclients" (0: default),
 *           "save": "3600 1 300 100" or "", "appendonly": bool, "appendfsync",
 *           "cluster_node_timeout_ms"?, "settings"? ({name: value}), "sentinel_password"?,
 *           "password"?}
 *       progress {"phase": "aof-rewrite", "keys", "total" (-1: unknown)}
 *       -> {"maxmemory", "warnings": [text]}
 *       ! settings of the running server, then CONFIG REWRITE. A memory limit that is too low for
 *       the data is raised, with a warning. The same if maxclients is more than the host permits: it is
 *       lowered.
 *       With sentinel_password, it makes the user recluster-sentinel, as open_shard does.
 *
 *   open_shard {"dir", "password" (null: none), "rules": "all" | "data" (of the commands of @admin
 *           and @dangerous only those that the vendor's proxy permits), "admin_password"?,
 *           "users"? ([lines of ACL LIST]), "denied"? ([commands that none of them may call, but
 *           admin]), "sentinel_password"?}
 *       -> {"warnings": [text]}  ! user default on; with admin_password, user admin too; with
 *       sentinel_password, the user recluster-sentinel, which may do what Sentinels need; ACL SAVE
 *       With users, these are made, and default is as its line says; "password" replaces its own.
 *       A user that the server refuses is left out, with a warning.
 *
 *   prove_endpoint {"addr", "port", "other_port"?, "password", "role", "cluster": bool,
 *           "samples": [{"db", "key" (hex), "kind"}], "users"?}
 *       -> {"samples_ok": n, "latency_us": n}
 *       With users, default may be off or have few rights: then user recluster looks.
 *       Acts as a client, at both ports: PING, role, cluster state ok, TYPE of the samples. The shard is open, so
 *       a sample that is gone or changed is not an error, but does not count.
 *
 *   seal_shard {"dir", "password", "users"?}
 *       -> {}                    ! removes user recluster; only users of the CCS may log in now
 *       The shard must be open. From now on it is in use: the agent never stops or removes it. Its
 *       systemd unit is enabled.
 *
 *   start_sentinel {"dir", "server", "addr", "port", "database", "run_as"?, "tls"? (as in
 *           prepare_shard), "watch": {"name", "addr", "port" (of the primary), "quorum",
 *           "down_after_ms", "failover_timeout_ms", "parallel_syncs" (0: the server's default),
 *           "user"?, "password"? (of the servers that it watches)}, "generation"?: n,
 *           "own_password"? (that it demands), "announce"? (as in prepare_shard)}
 *       -> {"already": bool, "primary": {"addr", "port"}, "replicas": n, "sentinels": n (others that
 *           it knows), "quorum": n, "quorum_ok": bool, "said" (by SENTINEL CKQUORUM)}
 *       ! a Sentinel with a folder and a record like a shard's. It keeps what it learns in its
 *       redis.conf, so that is written only before its first start. A Sentinel that runs is only
 *       asked. Its systemd unit is enabled. remove_shard removes it. A Sentinel of an earlier
 *       generation is stopped, and starts anew.
 *
 *   prove_failover {"dir" (of the primary), "name" (of the database, to its Sentinels), "primary":
 *           {"addr", "port"}, "servers": [{"addr", "port"}], "sentinels": [{"addr", "port"}],
 *           "sentinels_password"? (that they demand)}
 *       progress {"phase": "failover"}
 *       -> {"to": {"addr", "port"}, "away_ms", "back_ms"}
 *       ! SENTINEL FAILOVER at the first Sentinel, then a second one, back to "primary", for which
 *       the replica-priority of the servers is changed and restored. After each, all servers and
 *       Sentinels must agree. It looks first: after a kill it continues where things stand.
 *
 *   forget_nodes {"dir", "password", "nodes": [{"addr", "port"}]}
 *       -> {"forgotten": n}      ! CLUSTER FORGET of replicas at these addresses. A server learns
 *       them again from any other server that has not forgotten them within a minute.
 *
 *   stop_shard {"dir"}
 *       -> {"was_running": bool} ! SHUTDOWN NOSAVE, or SIGKILL after 10 s. For abort only.
 *
 *   remove_shard {"dir", "sealed"?: true (even if clients use the shard)}
 *       -> {}                    ! stops the server, removes its unit and the shard's folder. For
 *       abort only.
 *
 *   release {"base_dir"}
 *       -> {}                    ! abort: removes recovery.json and empty folders.
 */

enum { PROTOCOL_VERSION = 1 };

/* For databases whose clients may not use every command. It has its own password. */
#define ADMIN_USER "admin"
#define RECOVERY_USER "recluster"
#define REPLICATION_USER "replication"
#define SENTINEL_USER "recluster-sentinel"

#endif
