#include "verify_files.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/backup_name.h"
#include "recluster/catalogue.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/memory_limit.h"
#include "recluster/pull.h"

enum {
    AT_A_TIME_MAX = 16,
    ANSWER_BYTES_MAX = 64 << 20,
    TERMINAL_MS = 200, /* between two lines of progress */
    OTHER_MS = 5000,
};

/*
 * A file that is being verified. The child writes lines of JSON: an array has the bytes read and
 * the size (-1: unknown), an object is the entry.
 */
struct job {
    struct verify_file *file; /* NULL: unused */
    pid_t pid;
    int fd;
    struct buf lines;
    int64_t done_bytes;
};

struct verifier {
    struct rate *rate;
    bool digest;
    struct verify_file *files;
    size_t count, next, done;
    int64_t done_bytes; /* of verified files */
    struct job jobs[AT_A_TIME_MAX];
    size_t job_count;
    bool terminal;
    int64_t started_ms, told_ms;
};

/* --- in the child --- */

struct child {
    const struct verifier *verifier;
    const struct verify_file *file;
    int fd;
};

static void write_line(int fd, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    AUTO_FREE char *line = xasprintf("%s\n", text);
    struct err gone = ERR_INIT;

    free(text);
    if (file_write_all(fd, line, strlen(line), "the pipe", &gone) < 0)
        _exit(1); /* the parent is gone */
}

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    const struct child *c = arg;
    json_t *numbers = json_pack("[I, I]", (json_int_t)done_bytes, (json_int_t)total_bytes);

    write_line(c->fd, numbers);
    json_decref(numbers);
}

/* A segment is a SELECT of its first database, and as many bytes as its name says. */
static int check_segment(const char *name, const json_t *facts, struct err *err)
{
    enum { SELECT_MIN = 23, SELECT_MAX = 30 };
    int64_t wanted = catalogue_segment_bytes(name), bytes = json_int(facts, "stream_bytes", 0);

    if (wanted < 0 || (bytes >= wanted + SELECT_MIN && bytes <= wanted + SELECT_MAX))
        return 0;
    return err_set(err, ERR_CORRUPT,
        "it does not have the %lld bytes of a stream that its name says", (long long)wanted);
}

static int check_facts(void *arg, const json_t *facts, struct err *err)
{
    const struct child *c = arg;
    json_int_t keys = json_int(facts, "keys", 0);
    const json_t *foreign = json_object_get(facts, "foreign");
    json_int_t strays = json_int(foreign, "keys", 0);

    if (strays) {
        err_set(err, ERR_CORRUPT,
            "%" JSON_INTEGER_FORMAT
            " of its keys are in slots that belong to other files of its set",
            strays);
        return err_hint(err, "It is not the file that its name says, or it was taken while slots "
                             "moved: recover with --resort.");
    }

    if (c->file->keys < 0 || keys == c->file->keys)
        return check_segment(c->file->name, facts, err);
    return err_set(err, ERR_CORRUPT, "it has %" JSON_INTEGER_FORMAT " keys; its manifest says %lld",
        keys, (long long)c->file->keys);
}

bool verify_was_not_asked(enum err_code code)
{
    return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_BUSY || code == ERR_DENIED ||
           code == ERR_PROTOCOL || code == ERR_SERVER || code == ERR_LINK || code == ERR_CANCELLED;
}

/* The bytes read are not the size of a file that was not read to its end. */
static void correct_size(json_t *entry)
{
    const char *checksum = json_text(entry, "checksum", NULL);

    if (!checksum || strcmp(checksum, "not reached") != 0)
        return;
    json_object_set(entry, "read_bytes", json_object_get(entry, "bytes"));
    json_object_del(entry, "bytes");
}

static json_t *entry_of(const struct verify_file *file, json_t *facts, const struct err *err)
{
    json_t *entry = facts ? facts : json_object();

    correct_size(entry);
    if (err && verify_was_not_asked(err->code))
        json_object_set_new(entry, "checked", json_false());
    json_object_set_new(entry, "path", json_string(file->path));
    json_object_set_new(entry, "ok", json_boolean(!err));
    json_object_set_new(entry, "error", err ? json_string(err->message) : json_null());
    if (err && err->hint[0])
        json_object_set_new(entry, "hint", json_string(err->hint));
    return entry;
}

static int on_memory_limit(void *arg, const struct err *err)
{
    const struct child *c = arg;

    write_line(c->fd, entry_of(c->file, NULL, err));
    return 0;
}

static int verify_one(void *arg, int fd)
{
    struct child *c = arg;
    struct err err = ERR_INIT;
    json_t *facts = NULL;
    struct store *store = store_open(c->file->location, &err);
    const struct pull_params params = {
        .store = store,
        .name = c->file->name,
        .expected_bytes = c->file->expected_bytes,
        .sha256 = c->file->sha256,
        .scan = {.now_ms = clock_wall_ms(),
            .sha256 = c->verifier->digest || c->file->sha256,
            .allowed = c->file->slots},
        .progress = on_progress,
        .check = check_facts,
        .arg = c,
    };

    c->fd = fd;
    memory_limit_tell(on_memory_limit, c);
    if (store)
        store_limit_rate(store, c->verifier->rate);
    bool commands =
        backup_name_is_aof(c->file->name) || catalogue_segment_bytes(c->file->name) >= 0;
    int (*read)(const struct pull_params *, json_t **, struct err *) = commands ? pull_aof : pull;
    bool ok = store && read(&params, &facts, &err) == 0;
    json_t *entry = entry_of(c->file, facts, ok ? NULL : &err);
    write_line(fd, entry);
    json_decref(entry);
    store_close(store);
    return 0;
}

/* --- here --- */

static int start_job(struct verifier *v, struct job *job, struct err *err)
{
    struct child child = {.verifier = v, .file = &v->files[v->next]};

    if (child_fork(verify_one, &child, &job->pid, &job->fd, err) < 0)
        return -1;
    job->file = &v->files[v->next++];
    job->done_bytes = 0;
    return 0;
}

static void take_line(struct job *job, const char *line, size_t len)
{
    json_t *value = json_read_quietly(line, len, JSON_DECODE_ANY);

    if (json_is_array(value)) {
        job->done_bytes = json_integer_value(json_array_get(value, 0));
        if (job->file->bytes < 0)
            job->file->bytes = json_integer_value(json_array_get(value, 1));
    } else if (json_is_object(value)) {
        job->file->entry = json_incref(value);
    }
    json_decref(value);
}

static void take_lines(struct job *job)
{
    char *end;

    while ((end = memchr(job->lines.data, '\n', job->lines.len)) != NULL) {
        size_t len = (size_t)(end - job->lines.data);
        take_line(job, job->lines.data, len);
        buf_consume(&job->lines, len + 1);
    }
}

static void end_job(struct verifier *v, struct job *job)
{
    struct err err = ERR_INIT;
    int rc = child_wait(job->pid, &err);

    close(job->fd);
    if (!job->file->entry) {
        if (rc == 0)
            err_set(&err, ERR_FAILED, "its check ended without an answer");
        err_wrap(&err, "'%s' could not be checked", job->file->name);
        job->file->entry = entry_of(job->file, NULL, &err);
    }
    v->done++;
    v->done_bytes += job->file->bytes > 0 ? job->file->bytes : job->done_bytes;
    buf_clear(&job->lines);
    job->file = NULL;
}

static void read_job(struct verifier *v, struct job *job)
{
    char chunk[16384];
    struct err err = ERR_INIT;
    ssize_t n = read(job->fd, chunk, sizeof(chunk));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        end_job(v, job);
    } else if (buf_add_limited(
                   &job->lines, chunk, (size_t)n, ANSWER_BYTES_MAX, "the answer", &err) < 0) {
        child_kill(job->pid);
        job->file->entry = entry_of(job->file, NULL, &err);
        end_job(v, job);
    } else {
        take_lines(job);
    }
}

/* The remaining time at the rate so far, once the rate is meaningful. */
static void add_time_left(const struct verifier *v, int64_t done, int64_t total, struct buf *out)
{
    enum { SAMPLE_MS = 1000 };
    int64_t took_ms = clock_mono_ms() - v->started_ms;
    char left[HUMAN_TEXT_MAX];

    if (took_ms < SAMPLE_MS || done <= 0 || done >= total)
        return;
    double ms = (double)(total - done) * (double)took_ms / (double)done;
    buf_addf(out, ", %s left", human_duration((int64_t)ms, left));
}

static void tell(struct verifier *v)
{
    char done_text[HUMAN_TEXT_MAX], total_text[HUMAN_TEXT_MAX];
    int64_t now_ms = clock_mono_ms(), done = v->done_bytes, total = 0;

    if (now_ms - v->told_ms < (v->terminal ? TERMINAL_MS : OTHER_MS))
        return;
    v->told_ms = now_ms;
    for (size_t i = 0; i < v->job_count; i++)
        if (v->jobs[i].file)
            done += v->jobs[i].done_bytes;
    for (size_t i = 0; i < v->count && total >= 0; i++)
        total = v->files[i].bytes < 0 ? -1 : total + v->files[i].bytes;
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    buf_addf(&line, "%zu of %zu files verified, %s", v->done, v->count,
        human_bytes((uint64_t)done, done_text));
    if (total >= 0)
        buf_addf(&line, " of %s", human_bytes((uint64_t)total, total_text));
    add_time_left(v, done, total, &line);
    fprintf(stderr, v->terminal ? "\r\033[K%s" : "%s\n", line.data);
}

/* Waits until a child writes something. */
static int wait_for_jobs(struct verifier *v, struct err *err)
{
    struct pollfd fds[AT_A_TIME_MAX];
    struct job *jobs[AT_A_TIME_MAX];
    nfds_t count = 0;

    for (size_t i = 0; i < v->job_count; i++) {
        if (!v->jobs[i].file)
            continue;
        jobs[count] = &v->jobs[i];
        fds[count++] = (struct pollfd){.fd = v->jobs[i].fd, .events = POLLIN};
    }
    if (poll(fds, count, TERMINAL_MS) < 0 && errno != EINTR)
        return err_sys(err, ERR_FAILED, "cannot wait");
    for (nfds_t i = 0; i < count; i++)
        if (fds[i].revents)
            read_job(v, jobs[i]);
    tell(v);
    return 0;
}

static int run(struct verifier *v, struct err *err)
{
    while (v->done < v->count) {
        for (size_t i = 0; i < v->job_count && v->next < v->count; i++)
            if (!v->jobs[i].file && start_job(v, &v->jobs[i], err) < 0)
                return -1;
        if (wait_for_jobs(v, err) < 0)
            return -1;
    }
    return 0;
}

int verify_files(
    struct verify_file *files, size_t count, struct rate *rate, bool digest, struct err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct verifier v = {.rate = rate,
        .digest = digest,
        .files = files,
        .count = count,
        .job_count = cores < 1               ? 1
                     : cores < AT_A_TIME_MAX ? (size_t)cores
                                             : AT_A_TIME_MAX,
        .terminal = isatty(STDERR_FILENO) == 1,
        .started_ms = clock_mono_ms()};

    v.told_ms = v.started_ms;
    for (size_t i = 0; i < v.job_count; i++)
        buf_init(&v.jobs[i].lines);
    int rc = run(&v, err);
    for (size_t i = 0; i < v.job_count; i++) {
        if (v.jobs[i].file) {
            child_kill(v.jobs[i].pid);
            close(v.jobs[i].fd);
        }
        buf_release(&v.jobs[i].lines);
    }
    if (v.terminal)
        fputs("\r\033[K", stderr);
    return rc;
}
