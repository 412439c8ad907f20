#include "aof_command.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/aof.h"
#include "recluster/mem.h"

/*
 * The commands that write data in Redis 2.8 to 8.4 and Valkey 7.2 to 9.1, and those that frame
 * them. Sorted. MIGRATE (a DEL in such a file), CLUSTER FLUSHSLOT, PFDEBUG, EVAL and similar
 * commands are missing, although servers count them as writing.
 */
static const char *const data[] = {"append", "bitfield", "bitop", "blmove", "blmpop", "blpop",
    "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin", "copy", "decr", "decrby", "del",
    "delex", "delifeq", "exec", "expire", "expireat", "flushall", "flushdb", "geoadd", "georadius",
    "georadiusbymember", "geosearchstore", "getdel", "getex", "getset", "hdel", "hexpire",
    "hexpireat", "hgetdel", "hgetex", "hincrby", "hincrbyfloat", "hmset", "hpersist", "hpexpire",
    "hpexpireat", "hset", "hsetex", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lmove",
    "lmpop", "lpop", "lpush", "lpushx", "lrem", "lset", "ltrim", "move", "mset", "msetex", "msetnx",
    "multi", "persist", "pexpire", "pexpireat", "pfadd", "pfmerge", "psetex", "rename", "renamenx",
    "restore", "restore-asking", "rpop", "rpoplpush", "rpush", "rpushx", "sadd", "sdiffstore",
    "select", "set", "setbit", "setex", "setnx", "setrange", "sinterstore", "smove", "sort", "spop",
    "srem", "substr", "sunionstore", "swapdb", "unlink", "vadd", "vrem", "vsetattr", "xack",
    "xackdel", "xadd", "xautoclaim", "xcfgset", "xclaim", "xdel", "xdelex", "xgroup", "xreadgroup",
    "xsetid", "xtrim", "zadd", "zdiffstore", "zincrby", "zinterstore", "zmpop", "zpopmax",
    "zpopmin", "zrangestore", "zrem", "zremrangebylex", "zremrangebyrank", "zremrangebyscore",
    "zunionstore"};

/* Before 7.0 the file has the scripts too, besides the data that they wrote. */
static const char *const nothing[] = {"ping", "publish", "script", "spublish"};

/* Function libraries are data, as in an RDB file. */
static const char *const of_function[] = {"delete", "flush", "load", "restore"};

/* No server writes these, and none of them may be replayed. */
static const char *const never[] = {"acl", "auth", "bgrewriteaof", "bgsave", "client", "cluster",
    "config", "debug", "failover", "hello", "latency", "memory", "migrate", "module", "monitor",
    "psync", "quit", "replconf", "replicaof", "reset", "role", "save", "shutdown", "slaveof",
    "slowlog", "subscribe", "psubscribe", "ssubscribe", "sync", "wait", "waitaof", "watch"};

static bool is_word(const char *word, const char *name, size_t len)
{
    return strncasecmp(word, name, len) == 0 && word[len] == '\0';
}

static bool is_among(const char *const *words, size_t count, const char *name, size_t len)
{
    if (memchr(name, '\0', len))
        return false;
    for (size_t i = 0; i < count; i++)
        if (is_word(words[i], name, len))
            return true;
    return false;
}

#define IS_AMONG(words, name, len) is_among((words), ARRAY_SIZE(words), (name), (len))

/* Looked up for each command, so by binary search. */
static bool is_data(const char *name, size_t len)
{
    size_t low = 0, high = ARRAY_SIZE(data);

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strncasecmp(name, data[middle], len);
        if (order == 0)
            order = data[middle][len] ? -1 : 0;
        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

bool aof_command_is_data(const char *name, const char *const *also)
{
    enum aof_verdict verdict = aof_command_verdict(name, strlen(name), NULL, 0, also);

    return verdict == AOF_DATA || verdict == AOF_UNDECIDED;
}

bool aof_command_is_never(const char *name)
{
    return IS_AMONG(never, name, strlen(name));
}

enum aof_verdict aof_command_verdict(
    const char *name, size_t len, const char *sub, size_t sub_len, const char *const *also)
{
    if (memchr(name, '\0', len))
        return AOF_REFUSED;
    if (len && is_data(name, len))
        return AOF_DATA;
    bool script = is_word("script", name, len);
    for (; also && *also; also++)
        if ((is_word(*also, name, len) && !aof_command_is_never(*also)) ||
            (script && strncasecmp(*also, "evalsha", 7) == 0))
            return AOF_DATA;
    if (IS_AMONG(nothing, name, len))
        return AOF_NOTHING;
    if (!is_word("function", name, len))
        return AOF_REFUSED;
    if (!sub)
        return AOF_UNDECIDED;
    return IS_AMONG(of_function, sub, sub_len) ? AOF_DATA : AOF_REFUSED;
}
