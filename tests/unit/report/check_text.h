#ifndef RECLUSTER_TEST_CHECK_TEXT_H
#define RECLUSTER_TEST_CHECK_TEXT_H

/* What the tests of reports ask of a text and of a JSON document; each fails the test. */

#include <jansson.h>
#include <stddef.h>

void check_text(const char *text); /* 80 columns, no control characters, no canary */
void assert_has(const char *text, const char *part);
size_t count_lines(const char *text);

json_t *at(const json_t *doc, const char *path); /* "databases/0/shards/1/uid"; borrowed, or NULL */
void assert_json(const json_t *doc, const char *expected);

struct expected {
    const char *path, *json;
};
void check_fields(
    const json_t *doc, const struct expected *fields, size_t count); /* and no canary */

#endif
