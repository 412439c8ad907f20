#include "lines.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/json.h"

enum { LINES_BYTES_MAX = 16 << 20 };

static int read_lines(const char *path, json_t **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    *ret = json_array();
    if (!file_exists(path))
        return 0;
    json_decref(*ret);
    *ret = NULL;
    if (file_read(path, LINES_BYTES_MAX, &text, err) < 0)
        return -1;
    *ret = json_read(text.data, text.len, 0, path, err);
    return *ret ? 0 : -1;
}

struct naming {
    const json_t *lines;
    const struct slots *const *slots; /* of the streams */
    size_t count;
    char (*names)[MANIFEST_WORD_MAX];
    bool *named;
};

static bool is_taken(const struct naming *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->named[i] && strcmp(n->names[i], name) == 0)
            return true;
    return false;
}

/* Of the streams and lines without each other, those with the most slots in common. */
static bool take_best(struct naming *n)
{
    struct err ignored = ERR_INIT;
    char word[MANIFEST_WORD_MAX], best_word[MANIFEST_WORD_MAX];
    size_t best = 0, l;
    unsigned most = 0;
    const json_t *line;

    json_array_foreach (n->lines, l, line) {
        struct slots own;
        slots_clear(&own);
        manifest_word(json_text(line, "name", ""), word);
        if (!*word || is_taken(n, word) ||
            slots_from_json(json_object_get(line, "slots"), &own, &ignored) < 0)
            continue;
        for (size_t i = 0; i < n->count; i++) {
            unsigned common = n->named[i] ? 0 : slots_common(&own, n->slots[i]);
            if (common <= most)
                continue;
            most = common;
            best = i;
            memcpy(best_word, word, sizeof(word));
        }
    }
    if (!most)
        return false;
    memcpy(n->names[best], best_word, sizeof(best_word));
    n->named[best] = true;
    return true;
}

/* A new stream whose name an older one has. */
static void take_own(struct naming *n, size_t i)
{
    char own[MANIFEST_WORD_MAX];

    memcpy(own, n->names[i], sizeof(own));
    for (unsigned number = 2; is_taken(n, n->names[i]); number++) {
        AUTO_FREE char *other = xasprintf("%.40s_%u", own, number);
        manifest_word(other, n->names[i]);
    }
    n->named[i] = true;
}

int lines_name(const char *folder, const struct slots *const *slots, size_t count,
    char (*names)[MANIFEST_WORD_MAX], struct err *err)
{
    AUTO_FREE char *path = path_join(folder, "lines.json");
    json_t *lines, *now = json_array();

    int rc = read_lines(path, &lines, err);
    struct naming n = {lines, slots, count, names, xcalloc(count + 1, sizeof(*n.named))};
    while (rc == 0 && take_best(&n))
        ;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!n.named[i])
            take_own(&n, i);
        json_array_append_new(
            now, json_pack("{s:s, s:o}", "name", names[i], "slots", slots_to_json(slots[i])));
    }
    free(n.named);
    AUTO_FREE char *text = json_dumps(now, JSON_INDENT(1));
    if (rc == 0)
        rc = file_write_atomic(path, text, strlen(text), 0600, err);
    json_decref(lines);
    json_decref(now);
    return rc;
}
