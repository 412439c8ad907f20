/*
 * The stream of a primary: whatever comes, in whatever pieces, the splitter finds the same ends; what
 * it calls whole is whole, and can be read again from there.
 */

#include <string.h>

#include "fuzz.h"
#include "recluster/repl.h"

enum { START = 1000 };

static int feed(
    struct repl_stream *s, const uint8_t *data, size_t size, size_t step, struct err *err)
{
    repl_stream_init(s, START, 0);
    for (size_t at = 0; at < size; at += step)
        if (repl_stream_feed(s, data + at, size - at < step ? size - at : step, err) < 0)
            return -1;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct repl_stream whole, pieces, again;
    struct err err = ERR_INIT, same = ERR_INIT;

    int rc = feed(&whole, data, size, size ? size : 1, &err);
    for (size_t step = 1; step < 20; step += 6) {
        FUZZ_ASSERT(feed(&pieces, data, size, step, &same) == rc);
        FUZZ_ASSERT(rc == 0 || strcmp(err.message, same.message) == 0);
        FUZZ_ASSERT(pieces.whole_at == whole.whole_at);
        FUZZ_ASSERT(rc < 0 || (pieces.db == whole.db && pieces.offset == whole.offset));
    }
    /* The front up to there is whole by itself. */
    size_t front = (size_t)(whole.whole_at - START);
    FUZZ_ASSERT(front <= size);
    FUZZ_ASSERT(feed(&again, data, front, front ? front : 1, &err) == 0);
    FUZZ_ASSERT(repl_stream_is_whole(&again));
    return 0;
}
