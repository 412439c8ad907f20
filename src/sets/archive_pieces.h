#ifndef SETS_ARCHIVE_PIECES_H
#define SETS_ARCHIVE_PIECES_H

/*
 * The pieces of an archive, by the names in the list of a location (recluster/archive.h), and the
 * way from a base through the segments to a place of the stream.
 */

#include "catalogue_draft.h"

enum { ARCHIVE_ID_HEX = 40, ARCHIVE_WORD_MAX = 64 };

/* A base (first == last) or a segment. */
struct piece {
    const struct store_entry *entry;
    char shard[ARCHIVE_WORD_MAX], id[ARCHIVE_ID_HEX + 1];
    int64_t first, last;
};

struct archive {
    struct catalogue_draft *draft;
    struct piece *bases, *segments; /* sorted by shard and first offset */
    size_t base_count, base_alloc, segment_count, segment_alloc;
};

/*
 * Ends of histories that no later moment has: what a primary sent and its successor never got.
 * [{"shard", "repl_id", "from", "to" (offsets), "bytes"}], the caller's.
 */
json_t *archive_branches(const struct archive *a);

/* Those of draft->query->database_uid. `draft` is set. */
void archive_find_pieces(struct archive *a);
void archive_release(struct archive *a);

struct target {
    const char *shard, *id;
    int64_t offset;
};

/*
 * The parts of a file (catalogue.h) up to the target, from the newest base that leads there; the
 * caller's. NULL: *ret_gap is the offset at which the best way ends, -1 if there is no base.
 */
json_t *archive_parts(const struct archive *a, const struct target *to,
    const struct piece **ret_base, int64_t *ret_gap);

/* Whether it is an index of moments: of the database, or of any, whose uid is then in `ret_uid`. */
bool archive_is_index(const char *name, const char *uid);
bool archive_database_of_index(const char *name, char ret_uid[ARCHIVE_WORD_MAX]);

/* The cuts of one index; NULL: it cannot be read, or is none. The caller's. */
json_t *archive_read_index(
    struct archive *a, const char *name, json_t **ret_document, struct err *err);
/* Adds the set of the newest cut up to query->at_ms (catalogue_archive.c). */
int archive_find_cut(struct archive *a, struct err *err) MUST_CHECK;

#endif
