#include <stdarg.h>
#include <stdlib.h>

#include "internal.h"
#include "recluster/clock.h"
#include "recluster/mem.h"

static json_t *event_json(const struct event *e, int64_t at_ms)
{
    char when[CLOCK_TEXT_MAX];
    json_t *row = json_pack("{s:s, s:I, s:s, s:s, s:s}", "time", clock_format(at_ms, when), "at_ms",
        (json_int_t)at_ms, "severity", e->severity ? e->severity : "info", "event", e->code,
        "message", e->message);
    const struct {
        const char *name, *value;
    } words[] = {
        {"database", e->database}, {"shard", e->shard}, {"host", e->host}, {"stage", e->stage}};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (words[i].value)
            json_object_set_new(row, words[i].name, json_string(words[i].value));
    if (e->detail)
        json_object_set(row, "detail", (json_t *)(uintptr_t)e->detail);
    return row;
}

int state_event(struct state *st, const struct event *e, struct err *err)
{
    int64_t now = clock_wall_ms();

    const struct column row[] = {
        COL_INT("at_ms", now),
        COL_TEXT("severity", e->severity ? e->severity : "info"),
        COL_TEXT("code", e->code),
        COL_TEXT("database_uid", e->database),
        COL_TEXT("shard_uid", e->shard),
        COL_TEXT("host", e->host),
        COL_TEXT("stage", e->stage),
        COL_TEXT("message", e->message),
        COL_JSON("detail", e->detail),
        COL_END,
    };

    if (state_insert(st, "event", row, err) < 0)
        return -1;
    if (st->on_event)
        json_array_append_new(st->pending_events, event_json(e, now));
    if (st->transaction_depth == 0)
        state_flush_events(st);
    return 0;
}

int state_tell(struct state *st, const struct event *event, struct err *err, const char *fmt, ...)
{
    struct event told = *event;
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *message = xvasprintf(fmt, args);
    va_end(args);
    told.message = message;
    return state_event(st, &told, err);
}

void state_on_event(struct state *st, void (*fn)(void *arg, const json_t *event), void *arg)
{
    st->on_event = fn;
    st->on_event_arg = arg;
}
