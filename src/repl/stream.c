#include <inttypes.h>
#include <stdlib.h>

#include "recluster/repl.h"

void repl_stream_init(struct repl_stream *s, int64_t offset, int64_t db)
{
    *s = (struct repl_stream){.first = offset, .offset = offset, .whole_at = offset, .db = db};
    command_reader_init(&s->reader);
    s->reader.offset = (uint64_t)offset;
}

bool repl_stream_is_whole(const struct repl_stream *s)
{
    return s->offset == s->whole_at;
}

static int select_database(struct repl_stream *s, struct err *err)
{
    const struct command_word *word = &s->reader.words[1];
    char *end;

    int64_t db = strtoll(word->text, &end, 10);
    if (s->reader.word != 2 || !word->len || *end || db < 0)
        return err_set(err, ERR_CORRUPT,
            "the replication stream has a SELECT without a number at offset %" PRIu64,
            s->reader.command_at);
    s->db = db;
    return 0;
}

int repl_stream_feed(struct repl_stream *s, const void *data, size_t len, struct err *err)
{
    struct command_reader *r = &s->reader;
    const char *p = data, *end = p + len;
    enum command_event event;

    while (p < end) {
        ssize_t n = command_reader_take(r, p, (size_t)(end - p), &event, err);
        if (n < 0)
            return err_wrap(err, "the replication stream is corrupt at offset %" PRIu64,
                command_reader_fault_at(r));
        p += n;
        s->offset = (int64_t)r->offset;
        if (event != COMMAND_WORD || !command_reader_is_between(r))
            continue;
        if (command_reader_is(r, "select") && select_database(s, err) < 0)
            return -1;
        if (!r->in_transaction)
            s->whole_at = s->offset;
    }
    return 0;
}
