/*
 * prepare_host: runs the admin's commands in their order, each once. base_dir/prepared.json is
 * written after each command and lists those that are done; an interrupted one is run again.
 */

#include <stdlib.h>
#include <string.h>

#include "method.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"

enum { COMMAND_MS = 10 * 60 * 1000, OUTPUT_MAX = 64 * 1024, RECORD_MAX = 16 * 1024 * 1024 };

/* The commands that this recovery has run: [{"command", "output", "ms"}]. Never NULL. */
static json_t *read_done(const char *path, const char *recovery, struct err *err)
{
    struct buf text = BUF_INIT;
    json_t *record = NULL, *done = NULL;

    if (!file_exists(path))
        return json_array();
    if (file_read(path, RECORD_MAX, &text, err) == 0) {
        record = json_read_quietly(text.data, text.len, 0);
        const char *of = json_text(record, "recovery", NULL);
        done = of && strcmp(of, recovery) == 0 ? json_incref(json_object_get(record, "done"))
                                               : json_array();
    }
    buf_release(&text);
    json_decref(record);
    return done;
}

static int write_done(const char *path, const char *recovery, json_t *done, struct err *err)
{
    json_t *record = json_pack("{s:s, s:O}", "recovery", recovery, "done", done);
    AUTO_FREE char *text = json_dumps(record, JSON_INDENT(1));

    json_decref(record);
    return file_write_atomic(path, text, strlen(text), 0600, err);
}

/* The output of a command may hold any bytes. */
static json_t *text_json(struct buf *text)
{
    json_t *value = json_stringn(text->data, text->len);

    for (size_t i = 0; !value && i < text->len; i++)
        if (text->data[i] & 0x80)
            text->data[i] = '?';
    return value ? value : json_stringn(text->data, text->len);
}

static int run_one(const char *command, json_t *done, struct err *err)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    int64_t start_ms = clock_mono_ms();
    struct buf output = BUF_INIT;

    int rc = child_run(argv, COMMAND_MS, OUTPUT_MAX, &output, err);
    if (rc < 0) {
        err_wrap(err, "\"prepare\": the command '%.200s'", command);
        err_hint(err, "Fix it on the host or in the hosts file; the commands before it are not run "
                      "again.");
    } else {
        json_array_append_new(
            done, json_pack("{s:s, s:o, s:I}", "command", command, "output", text_json(&output),
                      "ms", (json_int_t)(clock_mono_ms() - start_ms)));
    }
    buf_release(&output);
    return rc;
}

static int prepare_host_run(
    struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const json_t *commands = json_object_get(params, "commands");
    const char *base_dir, *recovery;
    const json_t *command;
    size_t i;
    int rc = 0;

    (void)call;
    if (param_string(params, "base_dir", &base_dir, err) < 0 ||
        param_string(params, "recovery", &recovery, err) < 0)
        return -1;
    if (!json_is_array(commands))
        return err_set(err, ERR_USAGE, "\"prepare\" is not a list of commands");
    json_array_foreach (commands, i, command) {
        if (!json_is_string(command))
            return err_set(err, ERR_USAGE, "\"prepare\": command no. %zu is not a text", i + 1);
    }
    AUTO_FREE char *path = path_join(base_dir, "prepared.json");
    json_t *done = read_done(path, recovery, err);
    if (!done)
        return -1;
    size_t before = json_array_size(done);
    for (i = before; i < json_array_size(commands) && rc == 0; i++) {
        rc = run_one(json_string_value(json_array_get(commands, i)), done, err);
        if (rc == 0)
            rc = write_done(path, recovery, done, err);
    }
    if (rc == 0)
        *ret = json_pack("{s:b, s:O}", "already", i == before, "done", done);
    json_decref(done);
    return rc;
}

const struct agent_method agent_prepare_host = {.name = "prepare_host", .run = prepare_host_run};
