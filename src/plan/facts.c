/* What probes found on hosts, and what is known of a backup file's inside. */

#include <stdlib.h>
#include <string.h>

#include "steps.h"

int64_t fact_number(const json_t *facts, const char *name, int64_t unknown)
{
    const json_t *value = json_object_get(facts, name);

    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
                                                                    : unknown;
}

const json_t *file_facts(const struct backup_file *file)
{
    return file->scanned && file->facts ? file->facts : file->head;
}

int64_t file_saved_s(const struct backup_file *file)
{
    const char *ctime = json_text(json_object_get(file_facts(file), "aux"), "ctime", NULL);

    return ctime ? strtoll(ctime, NULL, 10) : -1;
}

const char *file_other_database(const struct backup_file *file, json_int_t *ret_keys)
{
    json_t *by_db = json_object_get(file_facts(file), "keys_by_db");
    const char *number;
    json_t *keys;

    json_object_foreach (by_db, number, keys) {
        *ret_keys = json_integer_value(keys);
        if (strcmp(number, "0") != 0 && *ret_keys != 0)
            return number;
    }
    return NULL;
}
