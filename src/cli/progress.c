#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/recover.h"

enum { BAR_WIDTH = 24, LINE_EVERY_MS = 5000 };

struct progress {
    bool verbose, terminal, drawn;
    int64_t started_ms, line_at_ms;
};

struct progress *progress_new(bool verbose)
{
    struct progress *p = xcalloc(1, sizeof(*p));
    const char *term = getenv("TERM");

    p->verbose = verbose;
    p->terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    p->started_ms = p->line_at_ms = clock_mono_ms();
    return p;
}

static void erase(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

void progress_free(struct progress *p)
{
    erase(p);
    free(p);
}

static void format_line(
    const struct progress *p, const struct recover_progress *now, struct buf *out)
{
    char done[HUMAN_TEXT_MAX], total[HUMAN_TEXT_MAX], time[HUMAN_TEXT_MAX];
    size_t filled = now->tasks_total ? now->tasks_done * BAR_WIDTH / now->tasks_total : 0;

    buf_addc(out, '[');
    for (size_t i = 0; i < BAR_WIDTH; i++)
        buf_addc(out, i < filled ? '#' : '.');
    buf_addf(out, "] %zu/%zu  %-8s", now->tasks_done, now->tasks_total, now->stage);
    if (now->bytes_total > 0)
        buf_addf(out, "  %s of %s", human_bytes((uint64_t)now->bytes_done, done),
            human_bytes((uint64_t)now->bytes_total, total));
    buf_addf(out, "  %s", human_duration(clock_mono_ms() - p->started_ms, time));
    if (now->tasks_failed)
        buf_addf(out, "  %zu failed", now->tasks_failed);
}

void progress_show(void *arg, const struct recover_progress *now)
{
    struct progress *p = arg;
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    int64_t at = clock_mono_ms();

    if (!p->terminal && at < p->line_at_ms + LINE_EVERY_MS)
        return;
    p->line_at_ms = at;
    format_line(p, now, &line);
    if (p->terminal)
        fprintf(stderr, "\r%s\033[K", line.data);
    else
        fprintf(stderr, "%s\n", line.data);
    p->drawn = p->terminal;
}

void progress_tell(void *arg, const char *line)
{
    struct progress *p = arg;

    erase(p);
    print_plain(stderr, line);
    fputc('\n', stderr);
}

void progress_doing(void *arg, const char *line)
{
    struct progress *p = arg;
    int64_t at = clock_mono_ms();

    if (!p->terminal && at < p->line_at_ms + LINE_EVERY_MS)
        return;
    p->line_at_ms = at;
    fputs(p->terminal ? "\r" : "", stderr);
    print_plain(stderr, line);
    fputs(p->terminal ? "\033[K" : "\n", stderr);
    p->drawn = p->terminal;
}

/* Steps of single shards are for --verbose; what ends, fails or is odd is for all. */
static bool is_worth_a_line(const struct progress *p, const json_t *event)
{
    const char *code = json_string_value(json_object_get(event, "event"));

    return p->verbose || (strcmp(code, "task-started") != 0 && strcmp(code, "task-done") != 0);
}

/* Those of tasks that failed are told at the end. */
static const char *hint_of(const json_t *event)
{
    const char *code = json_string_value(json_object_get(event, "code"));

    return code && strcmp(code, "task-failed") == 0
               ? NULL
               : json_string_value(json_object_get(json_object_get(event, "detail"), "hint"));
}

void progress_event(void *arg, const json_t *event)
{
    struct progress *p = arg;
    const char *severity = json_string_value(json_object_get(event, "severity"));
    const char *message = json_string_value(json_object_get(event, "message"));

    if (!is_worth_a_line(p, event))
        return;
    erase(p);
    if (strcmp(severity, "info") != 0)
        fprintf(stderr, "%s: ", severity);
    print_plain(stderr, message);
    fputc('\n', stderr);
    if (hint_of(event)) {
        print_plain(stderr, hint_of(event));
        fputc('\n', stderr);
    }
}
