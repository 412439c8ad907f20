#ifndef CCS_TEST_H
#define CCS_TEST_H

/* What the tests of the module ccs share: a folder of their own, imports, and looks at the tables. */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "recluster/ccs.h"

/* A new folder; removed with drop_dir(). */
char *make_dir(void);
void drop_dir(char *dir);

/* Writes dir/name and gives its path; the caller frees it. */
char *write_file(const char *dir, const char *name, const void *data, size_t len);

/* The same as one gzip member; the caller frees it. */
void *gzip(const void *data, size_t len, size_t *ret_len);

/* Imports into a state in memory; fails the test if that fails. */
struct state *import_file(const char *path);

/* Imports text as a JSON file. */
struct state *import_json(const char *text);

/* The import must fail with this code and words in message or hint. */
void assert_refused(const char *path, enum err_code code, const char *words);

/* The rows of the typed tables, findings left out, as text; the caller frees it. */
char *typed_rows(struct state *st);

/* The first column of the first row; the caller frees it. */
char *query(struct state *st, const char *sql);

struct ccs *load(struct state *st);

/* The finding of that code whose keys, joined by spaces, are these (NULL: any); NULL if none. */
const struct ccs_finding *find_finding(const struct ccs *ccs, const char *code, const char *keys);
void assert_finding(const struct ccs *ccs, const char *code, const char *keys);

#endif
