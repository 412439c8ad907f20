#ifndef SETS_CATALOGUE_DRAFT_H
#define SETS_CATALOGUE_DRAFT_H

/* Shared by the makers of backup sets: catalogue.c, catalogue_folder.c, catalogue_manifest.c. */

#include "recluster/buf.h"
#include "recluster/catalogue.h"

/* The catalogue while it is being made. */
struct catalogue_draft {
    struct store *store;
    const struct catalogue_query *query;
    const struct store_list *list;
    struct catalogue *catalogue; /* its arena holds the texts and file arrays */
    size_t set_alloc;
    json_t *claimed; /* object: names of the files in manifests */
};

/* A set while its files are being collected. */
struct set_draft {
    struct backup_file *files;
    size_t count, alloc;
    struct buf faults;  /* why it is incomplete, besides missing slots */
    const char *hint;   /* of the first of them, in the catalogue's arena */
    const char **notes; /* in the catalogue's arena, but for the array */
    size_t note_count, note_alloc;
};
#define SET_DRAFT_INIT                                                                             \
    {                                                                                              \
        .faults = BUF_INIT                                                                         \
    }

/* The new file, without slots. Valid until the next one is added. */
struct backup_file *set_draft_add(
    struct set_draft *set, struct catalogue_draft *draft, const struct store_entry *entry);

void set_draft_fault(struct set_draft *set, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for an error that is the file's fault, with its hint. */
void set_draft_error(struct set_draft *set, struct catalogue_draft *draft, const struct err *error);
void set_draft_note(struct set_draft *set, struct catalogue_draft *draft, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void set_draft_release(struct set_draft *set);

/* Moves the set into the catalogue: finds missing slots and sorts the files. */
void set_draft_end(
    struct set_draft *set, struct catalogue_draft *draft, const char *id, int64_t time_ms);

/*
 * Reads a file's first kilobyte, decompressed, into file->head. Sets its size and, if requested,
 * its modification time (-1: unknown) from the answer.
 */
int catalogue_read_head(struct catalogue_draft *draft, struct backup_file *file,
    int64_t *ret_modified_ms, struct err *err) MUST_CHECK;

/* Whether an error is the file's fault, so that only its set is bad, and not the store's. */
bool catalogue_is_fault_of_file(enum err_code code);

/* The sets of manifests, for query->database_uid or for all databases (NULL). */
int catalogue_add_manifests(struct catalogue_draft *draft, struct err *err) MUST_CHECK;
bool catalogue_is_manifest(const char *name);

/* The archive of query->database_uid, as one set: its newest moment up to query->at_ms. */
int catalogue_add_archive(struct catalogue_draft *draft, struct err *err) MUST_CHECK;

/* Whether a manifest lists the file. */
bool catalogue_is_claimed(const struct catalogue_draft *draft, const char *name);

/* The folder that `redis-cli --cluster backup` wrote, if nodes.json is in the list. */
int catalogue_add_cluster_backup(struct catalogue_draft *draft, struct err *err) MUST_CHECK;

/* All RDB files without vendor names, as one set, if there are any. */
int catalogue_add_folder(struct catalogue_draft *draft, struct err *err) MUST_CHECK;

#endif
