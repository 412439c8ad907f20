#include "check_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recovery.h"

/* Display columns for what the tests put in: every character is one wide. */
void check_text(const char *text)
{
    size_t columns = 0, line = 1;

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\n') {
            columns = 0;
            line++;
            continue;
        }
        if (c < 0x20 || c == 0x7F)
            fail_msg("control character %d in line %zu of:\n%s", c, line, text);
        columns += (c & 0xC0) != 0x80;
        if (columns > 80)
            fail_msg("line %zu is too long in:\n%s", line, text);
    }
    assert_null(strstr(text, "\xE2\x80\xAE"));
    assert_null(strstr(text, CANARY));
}

void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is missing in:\n%s", part, text);
}

void assert_json(const json_t *doc, const char *expected)
{
    json_t *want = json_loads(expected, JSON_DECODE_ANY, NULL);

    assert_non_null(want);
    if (!json_equal(doc, want)) {
        char *have = doc ? json_dumps(doc, JSON_ENCODE_ANY) : NULL;
        fail_msg("%s instead of %s", have ? have : "nothing", expected);
    }
    json_decref(want);
}

json_t *at(const json_t *doc, const char *path)
{
    json_t *item = (json_t *)(uintptr_t)doc;
    char name[64];

    while (*path && item) {
        size_t len = strcspn(path, "/");
        snprintf(name, sizeof(name), "%.*s", (int)len, path);
        item = json_is_array(item) ? json_array_get(item, (size_t)atoi(name))
                                   : json_object_get(item, name);
        path += len + (path[len] == '/');
    }
    return item;
}

void check_fields(const json_t *doc, const struct expected *fields, size_t count)
{
    char *all = json_dumps(doc, 0);

    assert_null(strstr(all, CANARY));
    free(all);
    for (size_t i = 0; i < count; i++) {
        print_message("  %s\n", fields[i].path);
        assert_json(at(doc, fields[i].path), fields[i].json);
    }
}

size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}
