#ifndef RDB_AOF_COMMAND_H
#define RDB_AOF_COMMAND_H

/*
 * The commands of an append-only file. Servers write only commands that change data, but a file
 * written by others could hold anything that a client may send.
 */

#include <stddef.h>

enum aof_verdict {
    AOF_UNDECIDED, /* its first argument decides */
    AOF_DATA,
    AOF_NOTHING, /* changes no data, and is left out */
    AOF_REFUSED,
};

/*
 * `sub`: the first argument; NULL: not read yet. `also`: further names that the operator allows,
 * NULL-ended; NULL: none.
 */
enum aof_verdict aof_command_verdict(
    const char *name, size_t len, const char *sub, size_t sub_len, const char *const *also);

#endif
