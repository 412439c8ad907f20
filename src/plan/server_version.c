#include <stdio.h>
#include <string.h>

#include "steps.h"

enum {
    /* Valkey left Redis's numbering here: it refuses 12 to 79 and writes 80 with a magic of its
       own. */
    VALKEY_SHARED_MAX = 11,
    VALKEY_OWN = 80,
};

static const struct {
    const char *kind;
    int major, minor;
    int rdb_version;
} table[] = {
    /* newest first */
    {"redis", 8, 8, 14},
    {"redis", 8, 6, 13},
    {"redis", 7, 4, 12},
    {"redis", 7, 2, 11},
    {"redis", 7, 0, 10},
    {"redis", 5, 0, 9},
    {"redis", 4, 0, 8},
    {"redis", 3, 2, 7},
    {"redis", 2, 6, 6},
    {"redis", 2, 4, 2},
    {"redis", 1, 0, 1},
    {"valkey", 9, 0, VALKEY_OWN},
    {"valkey", 7, 2, VALKEY_SHARED_MAX},
};

int plan_rdb_version_max(const char *kind, const char *version)
{
    int major, minor;

    if (!kind || !version || sscanf(version, "%4d.%4d", &major, &minor) != 2)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (strcmp(table[i].kind, kind) == 0 &&
            (major > table[i].major || (major == table[i].major && minor >= table[i].minor)))
            return table[i].rdb_version;
    return 0;
}

bool server_writes_valkey(int server_version_max)
{
    return server_version_max >= VALKEY_OWN;
}

bool server_loads(bool server_is_valkey, int server_version_max, bool file_is_valkey, int version)
{
    if (file_is_valkey)
        return server_is_valkey && version <= server_version_max;
    if (server_is_valkey)
        return version <= VALKEY_SHARED_MAX;
    return version <= server_version_max;
}
