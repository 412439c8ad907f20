#ifndef RDB_AOF_COMMAND_H
#define RDB_AOF_COMMAND_H

/*
 * What a command in an append-only file may be. Servers write there what changes data, and nothing
 * else; an append-only file that somebody else wrote could hold anything that a client may say.
 */

#include <stddef.h>

enum aof_verdict {
    AOF_UNDECIDED, /* its first argument decides */
    AOF_DATA,
    AOF_NOTHING, /* it changes no data, and is left out */
    AOF_REFUSED,
};

/*
 * `sub` NULL: not read yet. `also`: names, NULL-ended, that the operator lets be replayed; NULL:
 * none.
 */
enum aof_verdict aof_command_verdict(
    const char *name, size_t len, const char *sub, size_t sub_len, const char *const *also);

#endif
