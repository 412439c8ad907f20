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

/* Of the line with some of the slots; "": there is none. */
static const char *known_name(const json_t *lines, const struct slots *slots)
{
    struct err ignored = ERR_INIT;
    const json_t *line;
    size_t i;

    json_array_foreach (lines, i, line) {
        struct slots own;
        slots_clear(&own);
        if (slots_from_json(json_object_get(line, "slots"), &own, &ignored) == 0 &&
            slots_overlap(&own, slots))
            return json_text(line, "name", "");
    }
    return "";
}

static bool is_taken(char (*names)[MANIFEST_WORD_MAX], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

int lines_name(const char *folder, const struct slots *const *slots, size_t count,
    char (*names)[MANIFEST_WORD_MAX], struct err *err)
{
    AUTO_FREE char *path = path_join(folder, "lines.json");
    json_t *lines, *now = json_array();

    int rc = read_lines(path, &lines, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *known = known_name(lines, slots[i]);
        char word[MANIFEST_WORD_MAX];
        manifest_word(known, word);
        if (*word && !is_taken(names, i, word))
            memcpy(names[i], word, sizeof(word));
        json_array_append_new(
            now, json_pack("{s:s, s:o}", "name", names[i], "slots", slots_to_json(slots[i])));
    }
    AUTO_FREE char *text = json_dumps(now, JSON_INDENT(1));
    if (rc == 0)
        rc = file_write_atomic(path, text, strlen(text), 0600, err);
    json_decref(lines);
    json_decref(now);
    return rc;
}
