#ifndef RECLUSTER_PROTOCOL_H
#define RECLUSTER_PROTOCOL_H

/*
 * What the operator's side (src/recover) asks of a host's agent (src/agent). The calls travel as
 * rpc.h describes; this is all that the two sides share.
 *
 * Every method looks first and acts only on the difference, so each may be called again at any
 * time, also after a crash in the middle of it. Each runs in a child process of the agent; when the
 * link ends, the agent and these children end. Servers live on. "!" marks what a call changes on
 * the host.
 *
 * Folders of a host, all below its base_dir:
 *
 *     lock                      flock: one recovery at a time; holds who, where, since when
 *     recovery.json             which recovery this folder belongs to
 *     prepared.json             which of the admin's commands were run
 *     agent/                    agents that were sent here (not ours to touch)
 *     <dir>/                    one per shard, e.g. db-1/shard-4
 *         incoming/NAME.part    while it comes
 *         incoming/NAME         a backup file that was verified; never a server's to write
 *         shard.json            the parameters of prepare_shard, written last by it; then its
 *                               marks: configured, opened, sealed
 *         redis.conf  users.acl  nodes.conf  dump.rdb  appendonlydir/  redis.sock  redis.pid
 *         server.log
 *
 * Common parameters: "base_dir", "recovery" (the recovery's id); for methods of a shard "dir"
 * (relative to base_dir). A base_dir or shard of another recovery is refused with ERR_CHECK. A "?"
 * stands behind what may be left out.
 *
 *   hello {"protocol": 1}
 *       -> {"protocol": 1, "version": "0.1.0", "pid": n}
 *
 *   probe {"base_dir", "addr", "server", "now_ms" (the operator's clock)?, "modules"? (of the hosts
 *           file), "types"? (of modules, that the files hold), "run_as"?, "folders"? ({uid: {"location", "names"}}), "reach"?
 *           ([{"addr", "port"}] of other hosts)}
 *       -> {"memory_total", "memory_available", "disk_free", "disk_total" (of base_dir's disk),
 *           "cores", "load1", "uid" (of the link's user), "overcommit": 0|1|2, "thp": "always|madvise|never|unknown", "nofile",
 *           "clock_ms", "clock_skew_ms" (here less there), "machine": id,
 *           "servers": [{"pid", "name"}] (Redis and Valkey, whoever started them),
 *           "supervisor": "system|user" (servers become systemd units) or "none" or "none, no linger"
 *           (they become daemons; systemd runs, but ends a user's processes with the last login),
 *           "server": {"path", "kind": "redis|valkey", "version": "7.0.15", and what it said when it
 *               was started for a moment in a folder of its own below TMPDIR or /tmp: "modules": [names],
 *               "types": {"vectorset": true}, from 7.0 on "nodes_conf": whether it takes a written
 *               one, "cluster_databases": whether a cluster may have several; or "trial_error": {…}}
 *               or {"error": {…}},
 *           "unseen": {uid: {"error"}} of the folders that can't be read,
 *           "silent": those of "reach" that give no answer (a refusal is one),
 *           "listening": [ports that addr can't use], "addr_local": bool,
 *           "base_dir": {"state": "absent|empty|recovery|foreign|unsafe" (others may change it), "recovery", "operator",
 *               "since" (of a recovery), "detail",
 *               "locked_by": {"operator", "since"}?}}
 *
 *   measure {"base_dir", "location"?, "name"? (of a file there)}
 *       -> {"disk": {"write", "read" (bytes a second), "bytes"} or {"error": {…}},
 *           "network"?: {"read" (bytes a second), "bytes"} or {"error": {…}}}
 *       Writes at most 256 MiB and a twentieth of what is free, to a file that never has a name or
 *       loses it at once, for 1.5 s or so, and reads it back; reads at most 128 MiB of the backup
 *       file, for 2 s or so. Leaves nothing behind, however it ends.
 *
 *   knock {"addresses": [{"addr", "port"}]}
 *       -> {"answers": ["open" | "refused" | "silent" | "unasked", as many, in that order]}
 *       Whether anything accepts connections there, as seen from this host.
 *
 *   old_servers {"listen": [{"addr", "port"}]} (of the old cluster, on this machine)
 *       -> {"found": [{"pid", "started", "name", "unit" (of systemd) or null} or {"closed": true}
 *           or {"error": {…}}]}, one for each
 *       An error where the address isn't this machine's, the process can't be seen, is no server of
 *       Redis or Valkey nor a proxy of theirs, or shares its unit with other programs.
 *
 *   fence {"addr", "port", "pid", "started", "name", "unit"} (as old_servers told)
 *       -> {"was_running": bool, "unit_off": "masked|disabled" or null}
 *       ! unit: masked (or, where that can't be, disabled) and stopped; else SIGTERM, and never more.
 *       Waits until the process has ended, 5 minutes if it must, and then that nobody listens there
 *       for a while. ERR_CHANGED where another process does now. Closed already: nothing is done.
 *
 *   lock {"base_dir", "recovery", "operator": "user@host pid n"}
 *       -> {}                    ! makes base_dir, holds the lock as long as the agent lives
 *       ERR_LOCKED names the holder; ERR_CHECK where the folder holds anything that is not ours.
 *
 *   prepare_host {"base_dir", "commands": [text]}
 *       -> {"already": bool, "done": [{"command", "output", "ms"}]}
 *       ! runs the admin's commands by `sh -c`, one after the other, each once in a recovery; those
 *       that are done stand in base_dir/prepared.json. One that fails is run again by the next call.
 *
 *   prepare_shard {"dir", "server", "addr", "port", "bus_port" (0: no cluster), "database",
 *           "shard", "role": "primary|replica", "primary": {"addr", "port"} (replica, not sharded),
 *           "nodes_conf"? (text, sharded), "recovery_password", "replication_password",
 *           "repl_backlog_bytes", "databases"? (how many it is to have), "modules"?, "run_as"?, "fast_load"?: bool,
           "generation"?: n}
 *       -> {}                    ! folder, redis.conf, users.acl, nodes.conf
 *       Clients are locked out: user default is off; "recluster" may do all; "replication", which
 *       may replicate, is off until the data has proven whole. Saving, AOF,
 *       eviction and memory limit are off. Port taken: ERR_CHECK. Where a server runs, or after
 *       configure, the files stay as they are; but where they are of an earlier generation, the
 *       server is stopped and all goes but incoming/, unless the shard is open: ERR_CHECK. Needs
 *       Redis 6.0 or Valkey.
 *
 *   list_files {"paths": [absolute folders]}
 *       -> {"folders": [{"path", "files": (disk_files.h)} or {"path", "error", "code"}]}
 *
 *   read_file {"folder", "name", "offset", "length", "stream"}
 *       -> {}                    the bytes come before that, as relay.h says
 *
 *   fetch {"dir", "location" or "relay" (its label: the bytes come as relay.h says), "name" (in the
 *           location), "bytes" (-1: any), "sha256"? (of the stored bytes), "kind"? ("rdb", "aof",
 *           "aof-folder"), "parts"? (of an AOF folder: [{"name", "bytes"}]), "more"?: [{"location"
 *           or "relay", "name", "bytes", …}] (files whose keys are joined with those of the first),
 *           "take"? (of this file only the keys of these slots count, JSON ranges; others have one too),
 *           "as" (file name in incoming/), "slots" (JSON ranges; keys elsewhere are refused) or
 *           null, "databases"? (how many its server can have), "rdb_version_max", "valkey_ok": bool, "samples": n, "seed": n,
 *           "cut"?: bool (keys of other slots are left out instead), "stamp"?: bool (pull.h),
 *           "land"?: bool (the server loads the file meanwhile, if it can be),
 *           "limit_rate"? (bytes a second), "aof_commands"? (that append-only files may hold beside
 *           data: ["EVAL"]), "aof_errors"?: bool (they may hold what the server refuses), "with"?: [{"dir", "as", "slots", …}] (other shards that
 *           need parts of these files)}
 *       progress {"bytes", "total"}
 *       -> the facts of pull.h, and "aof"?: [what append-only files held: {"name", "bytes",
 *           "commands", "preamble": bool, "dropped": {"file", "offset", "bytes"} (the tail that was
 *           cut off) or null, "errors": n (-1: not counted), "error_names"}]
 *       or, given "with" -> {"shards": [{"facts"} or {"error"}, …]}, the own one first: all are cut
 *       in one pass over the files, and each is taken or refused by itself.
 *       ! incoming/<as>; of an append-only file, the snapshot that a server of this host made of it
 *       Bytes that came before a transfer was cut off are not fetched again (pull.h, resume).
 *       A file already there is verified again instead of fetched; a bad one is moved aside. Keys
 *       of other slots, keys in databases that the server lacks, modules that it lacks (it is
 *       started for a moment and asked), versions: ERR_CHECK; the file then does not get its final
 *       name.
 *
 *   load_shard {"dir", "as" (null: starts empty), "keys": n (of the scan; -1 unknown),
 *           "expires": n, "field_expires"? (hashes with fields that expire), "databases"? (how many
 *           the server is to have), "backlog_bytes"? (to be kept for replicas, if more than usual),
 *           "cluster"?: {"epoch", "slots", "meet"?: {"addr", "port", "bus_port"}} (sharded, without
 *           nodes_conf: what CLUSTER commands then make of it)}
 *       progress {"phase": "starting|loading", "bytes"?, "total"?}
 *       -> {"keys_loaded", "keys_expired", "keys_by_db": {"0": n}, "used_memory", "pid",
 *           "started_ms", "load_ms" (-1: already), "server_version", "already": bool,
 *           "landed"?: true (it began with the fetch, and has loaded all of the file), "check":
 *           "exact" | "range" (started on its own files, not the backup; a replica whose primary
 *           has removed keys since) | "none" (opened)}
 *       ! hard link dump.rdb, the server. Found running: it is only checked, already is true. One
 *       that fetch started is waited for; where it has not just what the file holds, it is ended and
 *       started anew. A primary then lets replicas in. A replica does the same on an equal file with
 *       a stamp; it keeps what has expired until its primary says so.
 *       Loaded + expired other than keys, but for hashes that may be gone with their last field (they
 *       count as expired): the server is stopped, ERR_CHECK. An opened shard is
 *       started on its own files, and its keys aren't held against the backup's: clients write.
 *
 *   attach_replica {"dir", "primary": {"addr", "port"}, "keys"?, "expires"? (of the backup),
 *           "repl_id"? (stamp of the file that it loaded), "databases"? (as in load_shard), "meet"?: {"addr", "port", "bus_port"}
 *           (the primary's, sharded without nodes_conf), "password"? (the database's, for a
 *           primary that is sealed)}
 *       progress {"phase": "loading|sync|catching-up", "bytes", "total"}
 *       -> {"keys", "keys_by_db", "offset", "sync_full": 0|1 (its data is a copy that its primary
 *           sent), "sync_partial": 0|1 (it is what it loaded itself), "pid", "already"}
 *       ! the server of a replica, if it does not run yet; waits until its link is up and its offset
 *       is the primary's. Then the keys of each database must be as many on both.
 *
 *   shard_status {"dir", "password"? (the database's, for a sealed shard), "samples"?: [{"db",
 *           "key" (hex), "kind"}]}
 *       -> {"prepared": bool, "configured": bool, "sealed": bool, "running": bool, "pid", "role",
 *           "loading": bool, "keys_by_db", "keys", "used_memory", "link_up": bool (replica),
 *           "offset", "replicas": n, "cluster_state", "slots_ok", "known_nodes",
 *           "appendonly": bool, "maxmemory", "open": bool (user default is on), "uptime_s",
 *           "version", "samples_ok"?: n, "unit"?: {"name", "state"} (as systemctl says)}
 *       A sample that isn't there, or is of another kind: ERR_CHECK, unless clients are in already.
 *       Not running: "log", the last lines, instead of what comes after "running". While it loads,
 *       and of a sealed shard without the password, less is known and left out.
 *
 *   configure {"dir", "maxmemory" (0: none), "maxmemory_policy", "maxclients" (0: default),
 *           "save": "3600 1 300 100" or "", "appendonly": bool, "appendfsync",
 *           "cluster_node_timeout_ms"?, "password"?}
 *       progress {"phase": "aof-rewrite", "keys", "total" (-1: not known)}
 *       -> {"maxmemory", "warnings": [text]}
 *       ! settings of the running server, then CONFIG REWRITE. A memory limit below what the
 *       data takes is raised; a warning says so, as where maxclients can't be set.
 *
 *   open_shard {"dir", "password" (null: none), "rules": "all" | "data" (no command of @admin and
 *           @dangerous but those that clients of the vendor's proxy have), "admin_password"?}
 *       -> {}                    ! user default on; with admin_password, user admin too; ACL SAVE
 *
 *   prove_endpoint {"addr", "port", "password", "role", "cluster": bool,
 *           "samples": [{"db", "key" (hex), "kind"}]}
 *       -> {"samples_ok": n, "latency_us": n}
 *       As a client: PING, role, cluster state ok, TYPE of the samples. Clients are in already: a
 *       sample that is gone or changed is no error, but isn't counted.
 *
 *   seal_shard {"dir", "password"}
 *       -> {}                    ! removes user recluster: only whom the CCS names may log in now
 *       The shard must be open. From now on it is in use: the agent never stops nor removes it. A
 *       unit of systemd is enabled.
 *
 *   forget_nodes {"dir", "password", "nodes": [{"addr", "port"}]}
 *       -> {"forgotten": n}      ! CLUSTER FORGET of replicas at these places. A server takes them
 *       back from another one that hasn't forgotten them within a minute.
 *
 *   stop_shard {"dir"}
 *       -> {"was_running": bool} ! SHUTDOWN NOSAVE, or SIGKILL after 10 s. For abort only.
 *
 *   remove_shard {"dir", "sealed"?: true (also one that clients use)}
 *       -> {}                    ! stops the server, removes its unit and the shard's folder. For
 *       abort only.
 *
 *   release {"base_dir"}
 *       -> {}                    ! abort: removes recovery.json and what is empty.
 */

enum { PROTOCOL_VERSION = 1 };

/* Of databases whose clients may not use every command; it has its own password. */
#define ADMIN_USER "admin"
#define RECOVERY_USER "recluster"
#define REPLICATION_USER "replication"

#endif
