#include "given_folders.h"

#include <stdlib.h>

#include "recluster/json.h"

static const char place[] = "survey.folders", id[] = "";

int given_folders_save(const struct survey *survey, struct state *st, struct err *err)
{
    json_t *given = json_array(), *folder;
    size_t i;

    json_array_foreach (survey->disks, i, folder) {
        if (json_flag(folder, "given"))
            json_array_append(given, folder);
    }
    AUTO_FREE char *text = json_array_size(given) ? json_dumps(given, JSON_COMPACT) : NULL;
    json_decref(given);
    return state_set_secret(st, place, id, text, err);
}

int given_folders_load(struct state *st, json_t **ret, struct err *err)
{
    struct rows rows;
    json_t *given = NULL;

    if (state_query(st, &rows, err, "SELECT value FROM secret WHERE place = ?", "s", place) < 0)
        return -1;
    if (rows_next(&rows))
        given = rows_json(&rows, 0);
    *ret = given ? given : json_array();
    return rows_end(&rows, err);
}
