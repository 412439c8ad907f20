#ifndef RECLUSTER_COMMANDS_H
#define RECLUSTER_COMMANDS_H

/*
 * Commands as they are sent and stored.
 *
 * The reader reads commands as clients and primaries send them, and as append-only files have them: arrays of
 * bulk strings ("*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"). Pure: no I/O, no memory but the struct. It takes
 * the bytes in pieces of any size and keeps none of them, but for the first two words:
 *
 *     struct command_reader r;
 *     command_reader_init(&r);
 *     while (len) {
 *         ssize_t n = command_reader_take(&r, data, len, &event, err);   // -1: not commands
 *         data += n, len -= n;
 *         switch (event) …
 *     }
 *
 * COMMAND_WORD comes after each of the first two words and after the last one. If that was the end
 * of the command, command_reader_is_between() is true.
 *
 * Errors are ERR_CORRUPT, "expected an argument, found 0x00": the caller says of what, and where
 * (command_reader_fault_at()). The byte at which reading stopped is that at r.offset. After an error
 * the reader takes no more.
 *
 * Format: the description of the servers' protocol (RESP), and their networking.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "recluster/err.h"

/* Appends a command. `argv`: its words, NULL-ended. The buffer grows at most once. */
void command_add(struct buf *out, const char *const *argv);

enum { COMMAND_WORD_BYTES = 64 }; /* a longer name is an error; longer first arguments are cut */

struct command_word {
    char text[COMMAND_WORD_BYTES + 1]; /* NUL-ended; it may hold any bytes */
    size_t len;
};

struct command_reader {
    uint64_t offset;              /* of the next byte; the caller may begin with any number */
    uint64_t command_at;          /* offset at which the present command, or the last one, begins */
    uint64_t commands;            /* that have ended */
    bool in_transaction;          /* between MULTI and EXEC */
    struct command_word words[2]; /* of the present command, or the last one */
    unsigned word;                /* how many of them have ended */

    /* For the reader alone: */
    int expect;
    bool misplaced; /* the command must not be there */
    unsigned digits;
    uint64_t number, words_left, bytes_left;
};

enum command_event { COMMAND_MORE, COMMAND_WORD };

void command_reader_init(struct command_reader *r);

/* Takes at least one byte, and at most those up to the next event. len > 0. */
ssize_t command_reader_take(struct command_reader *r, const char *data, size_t len,
    enum command_event *ret, struct err *err) MUST_CHECK;

/* Whether the next byte is the first one of a command. */
bool command_reader_is_between(const struct command_reader *r);

/* After an error: the offset of the bad byte, or of the command that must not be there. */
uint64_t command_reader_fault_at(const struct command_reader *r);

/* Whether the name of the present command, or of the last one, is this. In any case. */
bool command_reader_is(const struct command_reader *r, const char *name);

#endif
