/*
 * {"type": "command", "command": [WORD, …], "path": "/folder", "name"?}: a folder that a shell sees,
 * which the operator's own command starts, such as ["docker", "exec", "-i", "db1", "sh"]. Files can
 * be listed and read. Only the operator's machine runs the command, and sends the files on.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "script.h"
#include "shell.h"

enum {
    WORD_BYTES = 24,
    LINE_MAX_BYTES = 4096,
    LOGIN_BYTES_MAX = 256 * 1024,
    PIECE_BYTES = 64 << 10
};

struct command_store {
    const char **argv; /* NULL-ended */
    char *dir, *label;
    int64_t silence_ms;
};

/* --- the location --- */

static void command_close(void *handle)
{
    struct command_store *c = handle;

    for (const char **arg = c->argv; arg && *arg; arg++)
        free((void *)(uintptr_t)*arg);
    free(c->argv);
    free(c->dir);
    free(c->label);
    free(c);
}

static const char **argv_of(const json_t *list)
{
    size_t count = json_array_size(list);
    const char **argv = xcalloc(count + 1, sizeof(*argv));

    for (size_t i = 0; i < count; i++) {
        const char *arg = json_string_value(json_array_get(list, i));
        argv[i] = xstrdup(arg ? arg : "");
    }
    return argv;
}

static void *command_open(const json_t *location, char **ret_label, struct err *err)
{
    const char *path = json_text(location, "path", NULL), *name = json_text(location, "name", NULL);
    const json_t *list = json_object_get(location, "command");
    const char *first = json_string_value(json_array_get(list, 0));
    long silence_s;

    if (!first || !*first || store_location_is_of_ccs(location)) {
        err_set(err, ERR_USAGE, "a location of the type 'command' needs its 'command'");
        err_hint(err, "List its words: {\"type\": \"command\", \"command\": [\"docker\", \"exec\", "
                      "\"-i\", \"NAME\", \"sh\"], \"path\": \"/data\"}.");
        return NULL;
    }
    if (!path || *path != '/') {
        err_set(err, ERR_USAGE, "a location of the type 'command' needs an absolute 'path'");
        return NULL;
    }
    if (store_location_timeout(location, &silence_s, err) < 0)
        return NULL;
    struct command_store *c = xmalloc(sizeof(*c));
    *c = (struct command_store){.argv = argv_of(list),
        .dir = xstrdup(path),
        .label = xasprintf("%s:%s", name ? name : first, path),
        .silence_ms = (int64_t)silence_s * 1000};
    *ret_label = xstrdup(c->label);
    return c;
}

/* --- an answer --- */

struct answer {
    const struct command_store *store;
    struct shell_run run;
    struct buf in; /* received, not yet taken */
    char word[WORD_BYTES + 1];
};

static void new_word(struct answer *a)
{
    AUTO_FREE char *word = random_hex(WORD_BYTES / 2);
    snprintf(a->word, sizeof(a->word), "%s", word);
}

static int start(
    struct answer *a, const struct command_store *c, const struct buf *script, struct err *err)
{
    a->store = c;
    a->in = (struct buf)BUF_INIT;
    if (shell_run_start(&a->run, c->argv, script, c->silence_ms, err) == 0)
        return 0;
    if (err->code == ERR_NOT_FOUND) /* the program, not the file */
        err->code = ERR_FAILED;
    return -1;
}

static void end(struct answer *a)
{
    shell_run_end(&a->run);
    buf_release(&a->in);
}

/* 1: more has come, 0: the end. */
static int more(struct answer *a, struct err *err)
{
    char chunk[PIECE_BYTES];
    ssize_t n = shell_run_read(&a->run, chunk, sizeof(chunk), err);

    if (n > 0)
        buf_add(&a->in, chunk, (size_t)n);
    return n > 0 ? 1 : (int)n;
}

/* The next line with our word, behind it; lines of the login are skipped. */
static int next_line(struct answer *a, char line[LINE_MAX_BYTES], struct err *err)
{
    size_t word = strlen(a->word), skipped = 0;

    for (;;) {
        const char *nl = memchr(a->in.data, '\n', a->in.len);
        if (!nl) {
            int rc = a->in.len < LINE_MAX_BYTES && skipped < LOGIN_BYTES_MAX ? more(a, err) : 0;
            if (rc > 0)
                continue;
            return rc < 0 ? -1 : shell_run_failed(&a->run, err);
        }
        size_t len = (size_t)(nl - a->in.data);
        bool ours = len > word && len < LINE_MAX_BYTES && memcmp(a->in.data, a->word, word) == 0;
        if (ours)
            snprintf(line, LINE_MAX_BYTES, "%.*s", (int)(len - word - 1), a->in.data + word + 1);
        buf_consume(&a->in, len + 1);
        skipped += len;
        if (ours)
            return 0;
    }
}

static int refused(const char *line, const char *path, struct err *err)
{
    if (strcmp(line, "missing") == 0)
        return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
    if (strcmp(line, "denied") == 0)
        return err_set(err, ERR_DENIED, "'%s' must not be read", path);
    return err_set(err, ERR_PROTOCOL, "the shell answers '%.80s'", line);
}

/* --- list --- */

/* "f BYTES SECONDS NAME" */
static int take_entry(const char *text, size_t len, struct store_list *list, struct err *err)
{
    int64_t bytes, seconds;
    int name = 0;

    if (sscanf(text, "%*1[fd] %" SCNd64 " %" SCNd64 "%n", &bytes, &seconds, &name) < 2 ||
        text[name++] != ' ' || bytes < 0 || seconds > INT64_MAX / 1000 || seconds < 0)
        return err_set(err, ERR_PROTOCOL, "the shell lists '%.80s'", text);
    if (*text == 'd')
        store_list_add_folder(list, text + name, len - (size_t)name);
    else
        store_list_add(list, text + name, len - (size_t)name, bytes, seconds * 1000);
    return 0;
}

static int take_entries(struct answer *a, struct store_list *list, struct err *err)
{
    for (;;) {
        const char *nul = memchr(a->in.data, '\0', a->in.len);
        if (nul) {
            size_t len = (size_t)(nul - a->in.data);
            if (take_entry(a->in.data, len, list, err) < 0 ||
                store_list_check(list, a->store->label, err) < 0)
                return -1;
            buf_consume(&a->in, len + 1);
            continue;
        }
        int rc = a->in.len < LINE_MAX_BYTES ? more(a, err)
                                            : err_set(err, ERR_PROTOCOL, "an entry is too long");
        if (rc < 0 || (rc == 0 && a->in.len == 0))
            return rc;
        if (rc == 0)
            return shell_run_failed(&a->run, err);
    }
}

static int command_list(void *handle, struct store_list *list, struct err *err)
{
    const struct command_store *c = handle;
    CLEANUP(buf_release) struct buf script = BUF_INIT;
    struct answer a;
    char line[LINE_MAX_BYTES];

    new_word(&a);
    script_list(&script, a.word, c->dir);
    if (start(&a, c, &script, err) < 0)
        return err_wrap(err, "cannot list '%s'", c->label);
    int rc = next_line(&a, line, err);
    if (rc == 0)
        rc = strcmp(line, "list") == 0 ? take_entries(&a, list, err) : refused(line, c->dir, err);
    end(&a);
    return rc < 0 ? err_wrap(err, "cannot list '%s'", c->label) : 0;
}

/* --- read --- */

static int parse_file(const char *line, struct store_object *ret)
{
    int64_t bytes, seconds;
    uint64_t inode;

    if (sscanf(line, "file %" SCNd64 " %" SCNd64 " %" SCNu64, &bytes, &seconds, &inode) != 3 ||
        bytes < 0 || seconds < 0 || seconds > INT64_MAX / 1000)
        return -1;
    *ret = (struct store_object){.bytes = bytes, .modified_ms = seconds * 1000};
    snprintf(ret->validator, sizeof(ret->validator), "%" PRId64 "-%" PRId64 "-%" PRIx64, bytes,
        seconds, inode);
    return 0;
}

static int pass_bytes(
    struct answer *a, int64_t length, const struct store_receiver *to, struct err *err)
{
    while (length > 0) {
        size_t len = (int64_t)a->in.len < length ? a->in.len : (size_t)length;
        if (len && to->data(to->arg, a->in.data, len, err) < 0)
            return -1;
        buf_consume(&a->in, len);
        length -= (int64_t)len;
        int rc = length > 0 ? more(a, err) : 1;
        if (rc <= 0)
            return rc < 0 ? -1 : shell_run_failed(&a->run, err);
    }
    return 0;
}

static int check_unchanged(
    struct answer *a, const struct store_object *before, const char *path, struct err *err)
{
    struct store_object after;
    char line[LINE_MAX_BYTES];

    if (next_line(a, line, err) < 0)
        return -1;
    if (parse_file(line, &after) == 0 && strcmp(before->validator, after.validator) == 0)
        return 0;
    err_set(err, ERR_CHANGED, "'%s' was changed while it was being read", path);
    return err_hint(err, "Wait until whatever writes it has ended, then try again.");
}

static int read_answer(struct answer *a, const char *path, const struct store_range *range,
    const struct store_receiver *to, struct err *err)
{
    struct store_object object;
    char line[LINE_MAX_BYTES];

    if (next_line(a, line, err) < 0)
        return -1;
    if (parse_file(line, &object) < 0)
        return refused(line, path, err);
    int64_t left = object.bytes > range->offset ? object.bytes - range->offset : 0;
    if (range->length >= 0 && range->length < left)
        left = range->length;
    if (to->begin(to->arg, &object, range->offset, err) < 0 || pass_bytes(a, left, to, err) < 0)
        return -1;
    return check_unchanged(a, &object, path, err);
}

static int command_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    const struct command_store *c = handle;
    const struct store_range range = {name, offset, length};
    CLEANUP(buf_release) struct buf script = BUF_INIT;
    AUTO_FREE char *path = path_join(c->dir, name);
    struct answer a;

    new_word(&a);
    script_read(&script, a.word, path, offset, length);
    if (start(&a, c, &script, err) < 0)
        return err_wrap(err, "cannot read '%s'", c->label);
    int rc = read_answer(&a, path, &range, receiver, err);
    end(&a);
    return rc;
}

/* The command is one of this machine. */
static int command_resolve(json_t *location, bool own, struct err *err)
{
    (void)own;
    (void)err;
    json_object_set_new(location, "relay", json_true());
    return 0;
}

static const char *const command_kinds[] = {"command", NULL};

const struct store_driver store_command_driver = {
    .kinds = command_kinds,
    .open = command_open,
    .close = command_close,
    .list = command_list,
    .read = command_read,
    .resolve = command_resolve,
};
