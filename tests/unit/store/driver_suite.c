/*
 * What every kind of location must be able to do, tried on a real one:
 *
 *     driver_suite [OPTION...] < LOCATION.json
 *     driver_suite --folder        a new folder as the location
 *
 * The location is one JSON value; it must be empty, and is left empty. Options:
 *
 *     --read-only   the folder holds what `driver_suite --fill FOLDER [--objects N]` wrote into it
 *     --emulator    leave out what stand-ins for a real store do wrong: names that need quoting in
 *                   XML, ranges of an empty object
 *     --small       write no object in more than one part
 *     --cut         no connection lives for 4 MB of answers: larger objects take several tries
 *     --objects N   list so many (20)
 *     --big BYTES   write and read one of this size
 *
 * Prints a line per check, "ok NAME" or "FAILED NAME: why"; exit status 1 if any failed.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/store.h"
#include "sample.h"
#include "temp_dir.h"

enum { MIDDLE_BYTES = 5 * 1000 * 1000 + 17, CHUNK_BYTES = 1 << 20, COLLECT_MAX = 16 << 20 };

static const char *const names[] = {"a b.rdb", "plus+percent%41&amp.rdb", "quote\"'<>.rdb",
    "semi;hash#query?.rdb", "caf\xc3\xa9.rdb", "co:lon,comma=equals.rdb", "tilde~star*[x].rdb",
    "back\\slash.rdb", " spaces at its ends ", "bk20201130-223654-1-db-1_of_1-2-0-16383.rdb.gz"};

static struct {
    bool read_only, emulator, cut, small;
    long objects, big_bytes;
} options = {.objects = 20};

static json_t *location;
static struct store *store;
static struct buf middle = BUF_INIT;
static int failures;
static bool failing; /* the check that runs has failed */

PRINTF_LIKE(2, 3) static void fail(const char *check, const char *fmt, ...)
{
    va_list args;

    if (failing)
        return;
    failing = true;
    failures++;
    printf("FAILED %s: ", check);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

#define MUST(condition, ...)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__func__, __VA_ARGS__);                                                           \
    } while (0)

#define MUST_BE_OK(call)                                                                           \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail(__func__, "%s: %s (%s)", #call, err.message, err_code_name(err.code));            \
    } while (0)

/* --- helpers --- */

static int collect(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, COLLECT_MAX, "what is read", err);
}

static int put(const char *name, const void *data, size_t len, struct err *err)
{
    struct store_writer *w = store_write_begin(store, name, err);

    if (!w)
        return -1;
    /* In pieces of odd lengths. */
    for (size_t at = 0, n; at < len; at += n) {
        n = len - at < 300007 ? len - at : 300007;
        if (store_write(w, (const char *)data + at, n, err) < 0) {
            store_write_abort(w);
            return -1;
        }
    }
    return store_write_commit(w, err);
}

static int get(const char *name, int64_t offset, int64_t length, struct buf *out,
    struct store_object *ret, struct err *err)
{
    buf_clear(out);
    return store_read(store, &(struct store_range){name, offset, length}, collect, out, ret, err);
}

static bool is(const struct buf *b, const void *data, size_t len)
{
    return b->len == len && memcmp(b->data, data, len) == 0;
}

static const struct store_entry *find(const struct store_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].name, name) == 0)
            return &list->entries[i];
    return NULL;
}

static char *numbered(long i)
{
    return xasprintf("n%05ld.rdb", i);
}

/* --- checks; each begins and ends with an empty location, or with what fill() wrote --- */

static void an_empty_location_has_no_files(void)
{
    struct err err = ERR_INIT;
    struct store_list list = STORE_LIST_INIT;

    MUST_BE_OK(store_list(store, &list, &err));
    MUST(list.count == 0, "it lists %zu files", list.count);
    store_list_release(&list);
}

static void objects_are_listed_and_read(void)
{
    struct err err = ERR_INIT;
    struct store_list list = STORE_LIST_INIT;
    struct store_object object;
    struct buf b = BUF_INIT;
    size_t count = ARRAY_SIZE(names) + 2;

    for (size_t i = 0; i < ARRAY_SIZE(names) && !options.read_only; i++)
        MUST_BE_OK(put(names[i], names[i], strlen(names[i]), &err));
    if (!options.read_only) {
        MUST_BE_OK(put("none.rdb", "", 0, &err));
        MUST_BE_OK(put("middle.rdb", middle.data, middle.len, &err));
    }
    MUST_BE_OK(store_list(store, &list, &err));
    MUST(list.count >= count || options.emulator, "it lists %zu files of %zu", list.count, count);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (options.emulator && strpbrk(names[i], "&<>\"'\\"))
            continue;
        const struct store_entry *e = find(&list, names[i]);
        MUST(e, "'%s' is not listed", names[i]);
        MUST(!e || e->bytes < 0 || e->bytes == (int64_t)strlen(names[i]), "'%s' has %lld bytes",
            names[i], e ? (long long)e->bytes : 0);
        MUST_BE_OK(get(names[i], 0, -1, &b, &object, &err));
        MUST(is(&b, names[i], strlen(names[i])), "'%s' holds other bytes", names[i]);
        MUST(object.bytes == (int64_t)b.len, "'%s': a wrong size", names[i]);
        MUST(object.validator[0], "'%s' has no validator", names[i]);
    }
    MUST_BE_OK(get("none.rdb", 0, -1, &b, &object, &err));
    MUST(b.len == 0 && object.bytes == 0, "none.rdb is not empty");
    if (!options.emulator)
        MUST_BE_OK(get("none.rdb", 0, 4096, &b, &object, &err));
    MUST(b.len == 0, "a range of none.rdb is not empty");
    MUST_BE_OK(get("middle.rdb", 0, -1, &b, &object, &err));
    MUST(is(&b, middle.data, middle.len), "middle.rdb holds other bytes");
    store_list_release(&list);
    buf_release(&b);
}

static void ranges_are_exact(void)
{
    static const struct {
        int64_t offset, length;
    } ranges[] = {{0, 4096}, {0, 1}, {1, 1}, {999999, 65537}, {MIDDLE_BYTES - 18, 100},
        {MIDDLE_BYTES, 100}, {MIDDLE_BYTES - 1, -1}, {1 << 20, -1}, {0, 0}};
    struct err err = ERR_INIT;
    struct store_object object;
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        int64_t from = ranges[i].offset, left = MIDDLE_BYTES - from, n = ranges[i].length;
        int64_t want = n < 0 || n > left ? left : n;
        MUST_BE_OK(get("middle.rdb", from, n, &b, &object, &err));
        MUST(is(&b, middle.data + from, (size_t)want), "%lld bytes from %lld: other bytes, or %zu",
            (long long)n, (long long)from, b.len);
        /* A store may keep the size to itself when nothing is left to send. */
        MUST(object.bytes == MIDDLE_BYTES || (from >= MIDDLE_BYTES && object.bytes < 0),
            "the range from %lld says %lld bytes", (long long)from, (long long)object.bytes);
    }
    buf_release(&b);
}

static int refuse(void *arg, const void *data, size_t len, struct err *err)
{
    size_t *left = arg;

    (void)data;
    if (*left < len)
        return err_set(err, ERR_CANCELLED, "enough was read");
    *left -= len;
    return 0;
}

/* The connection must be good for the next request. */
static void a_reader_may_stop(void)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    for (int i = 0; i < 3; i++) {
        size_t left = 700000;
        MUST_BE_OK(store_read(
            store, &(struct store_range){"middle.rdb", 0, -1}, refuse, &left, NULL, &err));
        MUST_BE_OK(get("a b.rdb", 0, -1, &b, NULL, &err));
        MUST(is(&b, "a b.rdb", 7), "the next object holds other bytes");
    }
    buf_release(&b);
}

static void what_is_not_there_is_said(void)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    MUST(get("not there.rdb", 0, -1, &b, NULL, &err) < 0, "it was read");
    MUST(err.code == ERR_NOT_FOUND, "%s: %s", err_code_name(err.code), err.message);
    MUST(strstr(err.message, "not"), "'%s' does not say what", err.message);
    buf_release(&b);
}

static void a_new_object_takes_the_place_of_the_old(void)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct store_object before, after;

    MUST_BE_OK(put("again.rdb", "first", 5, &err));
    MUST_BE_OK(get("again.rdb", 0, -1, &b, &before, &err));
    struct store_writer *w = store_write_begin(store, "again.rdb", &err);
    MUST(w, "%s", err.message);
    if (w) {
        MUST_BE_OK(store_write(w, middle.data, 1200000, &err));
        MUST_BE_OK(get("again.rdb", 0, -1, &b, NULL, &err));
        MUST(is(&b, "first", 5), "the old object was changed before the commit");
        MUST_BE_OK(store_write_commit(w, &err));
    }
    MUST_BE_OK(get("again.rdb", 0, -1, &b, &after, &err));
    MUST(is(&b, middle.data, 1200000), "it holds other bytes than the new ones");
    MUST(strcmp(before.validator, after.validator) != 0, "its validator is as it was");
    MUST_BE_OK(store_remove(store, "again.rdb", &err));
    buf_release(&b);
}

static int replace_it(void *arg, const void *data, size_t len, struct err *err)
{
    bool *replaced = arg;

    (void)data, (void)len;
    if (*replaced)
        return 0;
    *replaced = true;
    /* Over connections of its own: that of the reader is in use. */
    struct store *reader = store;
    store = store_open_resolved(location, err);
    int rc = store ? put("again.rdb", middle.data + 1, middle.len - 1, err) : -1;
    store_close(store);
    store = reader;
    return rc;
}

static void an_object_that_changes_between_two_tries_is_noticed(void)
{
    struct err err = ERR_INIT;
    bool replaced = false;

    MUST_BE_OK(put("again.rdb", middle.data, middle.len, &err));
    MUST(store_read(store, &(struct store_range){"again.rdb", 0, -1}, replace_it, &replaced, NULL,
             &err) < 0,
        "bytes of two objects were taken for one");
    MUST(err.code == ERR_CHANGED && strstr(err.message, "again.rdb"), "%s: %s",
        err_code_name(err.code), err.message);
    MUST_BE_OK(store_remove(store, "again.rdb", &err));
}

static void an_aborted_upload_leaves_nothing(void)
{
    struct err err = ERR_INIT;
    struct store_list list = STORE_LIST_INIT;

    struct store_writer *w = store_write_begin(store, "half.rdb", &err);
    MUST(w, "%s", err.message);
    if (w) {
        for (int i = 0; i < (options.small ? 1 : 4); i++)
            MUST_BE_OK(store_write(w, middle.data, middle.len, &err));
        store_write_abort(w);
    }
    MUST_BE_OK(store_list(store, &list, &err));
    for (size_t i = 0; i < list.count; i++)
        MUST(!strstr(list.entries[i].name, "half"), "'%s' is left", list.entries[i].name);
    store_list_release(&list);
}

static void objects_are_removed(void)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    MUST_BE_OK(put("gone soon.rdb", "x", 1, &err));
    MUST_BE_OK(store_remove(store, "gone soon.rdb", &err));
    MUST(get("gone soon.rdb", 0, -1, &b, NULL, &err) < 0, "it is still there");
    MUST_BE_OK(store_remove(store, "gone soon.rdb", &err));
    buf_release(&b);
}

/* More than a page of a listing where options.objects is over 1,000. */
static void many_objects_are_listed(void)
{
    struct err err = ERR_INIT;
    struct store_list list = STORE_LIST_INIT;
    size_t found = 0;

    for (long i = 0; i < options.objects && !options.read_only && !failing; i++) {
        AUTO_FREE char *name = numbered(i);
        MUST_BE_OK(put(name, name, strlen(name), &err));
    }
    MUST_BE_OK(store_list(store, &list, &err));
    for (long i = 0; i < options.objects; i++) {
        AUTO_FREE char *name = numbered(i);
        found += find(&list, name) != NULL;
    }
    MUST(found == (size_t)options.objects, "%zu of %ld are listed", found, options.objects);
    for (long i = 0; i < options.objects && !options.read_only && !failing; i++) {
        AUTO_FREE char *name = numbered(i);
        MUST_BE_OK(store_remove(store, name, &err));
    }
    store_list_release(&list);
}

static int add_to_digest(void *arg, const void *data, size_t len, struct err *err)
{
    (void)err;
    digest_add(arg, data, len);
    return 0;
}

static void a_big_object_comes_back(void)
{
    struct err err = ERR_INIT;
    char wrote[DIGEST_HEX_MAX], read[DIGEST_HEX_MAX];
    struct digest *digest = digest_new();
    struct store_object object;
    struct store_writer *w = store_write_begin(store, "big.rdb", &err);
    long left = options.big_bytes;

    MUST(w, "%s", err.message);
    for (int i = 0; w && left > 0 && !failing; i++) {
        size_t at = (size_t)i % 1000, n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        MUST_BE_OK(store_write(w, middle.data + at, n, &err));
        digest_add(digest, middle.data + at, n);
        left -= (long)n;
    }
    digest_end(digest, wrote);
    if (w)
        MUST_BE_OK(store_write_commit(w, &err));
    digest = digest_new();
    MUST_BE_OK(store_read(
        store, &(struct store_range){"big.rdb", 0, -1}, add_to_digest, digest, &object, &err));
    digest_end(digest, read);
    MUST(object.bytes == options.big_bytes, "it has %lld bytes", (long long)object.bytes);
    MUST(strcmp(wrote, read) == 0, "other bytes came back");
    MUST_BE_OK(store_remove(store, "big.rdb", &err));
}

static void all_is_removed(void)
{
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        MUST_BE_OK(store_remove(store, names[i], &err));
    MUST_BE_OK(store_remove(store, "none.rdb", &err));
    MUST_BE_OK(store_remove(store, "middle.rdb", &err));
    an_empty_location_has_no_files();
}

static const struct check {
    const char *name;
    void (*run)(void);
    bool writes;
} checks[] = {
#define CHECK(name, writes)                                                                        \
    {                                                                                              \
#name, name, writes                                                                        \
    }
    CHECK(an_empty_location_has_no_files, true),
    CHECK(objects_are_listed_and_read, false),
    CHECK(ranges_are_exact, false),
    CHECK(a_reader_may_stop, false),
    CHECK(what_is_not_there_is_said, false),
    CHECK(a_new_object_takes_the_place_of_the_old, true),
    CHECK(an_object_that_changes_between_two_tries_is_noticed, true),
    CHECK(an_aborted_upload_leaves_nothing, true),
    CHECK(objects_are_removed, true),
    CHECK(many_objects_are_listed, false),
    CHECK(a_big_object_comes_back, true),
    CHECK(all_is_removed, true),
};

static int fill(const char *folder)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        temp_file(folder, names[i], names[i], strlen(names[i]));
    temp_file(folder, "none.rdb", "", 0);
    temp_file(folder, "middle.rdb", middle.data, middle.len);
    for (long i = 0; i < options.objects; i++) {
        AUTO_FREE char *name = numbered(i);
        temp_file(folder, name, name, strlen(name));
    }
    return 0;
}

static void run_checks(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if ((checks[i].writes && options.read_only) ||
            (checks[i].run == a_big_object_comes_back && !options.big_bytes) ||
            (checks[i].run == an_object_that_changes_between_two_tries_is_noticed && !options.cut))
            continue;
        failing = false;
        checks[i].run();
        if (!failing)
            printf("ok %s\n", checks[i].name);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    char *folder = NULL;
    const char *to_fill = NULL;

    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--read-only") == 0)
            options.read_only = true;
        else if (strcmp(argv[i], "--emulator") == 0)
            options.emulator = true;
        else if (strcmp(argv[i], "--cut") == 0)
            options.cut = true;
        else if (strcmp(argv[i], "--small") == 0)
            options.small = true;
        else if (strcmp(argv[i], "--folder") == 0)
            folder = temp_dir_make();
        else if (strcmp(argv[i], "--objects") == 0 && value)
            options.objects = atol(argv[++i]);
        else if (strcmp(argv[i], "--big") == 0 && value)
            options.big_bytes = atol(argv[++i]);
        else if (strcmp(argv[i], "--fill") == 0 && value)
            to_fill = argv[++i];
        else
            return fprintf(stderr, "driver_suite: what is '%s'?\n", argv[i]), 2;
    }
    sample_noise(&middle, MIDDLE_BYTES);
    if (to_fill)
        return fill(to_fill);
    location = folder ? json_string(folder) : json_loadf(stdin, JSON_DECODE_ANY, NULL);
    store = location ? store_open_resolved(location, &err) : NULL;
    if (!store)
        return fprintf(stderr, "driver_suite: %s\n", err.message), 2;
    run_checks();
    store_close(store);
    json_decref(location);
    buf_release(&middle);
    if (folder)
        temp_dir_remove(folder);
    return failures ? 1 : 0;
}
