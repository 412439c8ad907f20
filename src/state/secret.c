/* Secrets of the other tables, in a table of their own. */

#include <stdlib.h>

#include "recluster/secret.h"
#include "recluster/state.h"

int state_set_secret(
    struct state *st, const char *place, const char *id, const char *value, struct err *err)
{
    if (!value)
        return state_run(st, err, "DELETE FROM secret WHERE place = ? AND id = ?", "ss", place, id);
    return state_run(st, err, "INSERT OR REPLACE INTO secret (place, id, value) VALUES (?, ?, ?)",
        "sss", place, id, value);
}

int state_set_secrets_of(struct state *st, const char *place, const char *id, const json_t *value,
    json_t **ret_masked, struct err *err)
{
    json_t *masked = value ? secret_mask_json(value) : NULL;
    AUTO_FREE char *text =
        json_equal(masked, value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    if (state_set_secret(st, place, id, text, err) < 0) {
        json_decref(masked);
        return -1;
    }
    *ret_masked = masked;
    return 0;
}

char *state_secret(struct state *st, const char *place, const char *id)
{
    struct err ignored;
    struct rows rows;
    char *value = NULL;

    if (state_query(st, &rows, &ignored, "SELECT value FROM secret WHERE place = ? AND id = ?",
            "ss", place, id) < 0)
        return NULL;
    if (rows_next(&rows))
        value = xstrdup(rows_text(&rows, 0));
    return rows_end(&rows, &ignored) < 0 ? (free(value), NULL) : value;
}
