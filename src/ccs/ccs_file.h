#ifndef CCS_FILE_H
#define CCS_FILE_H

/*
 * Reads a CCS file of any form into objects. Its content tells the form: RDB, JSON, or one of them
 * gzipped (also in several members). It reads once from front to end, so a pipe is fine.
 *
 * Limits: CCS_FILE_INFLATED_MAX for a decompressed file, those of object.h for the objects,
 * JSON_BYTES_MAX for a JSON document.
 */

#include <jansson.h>

#include "object.h"
#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/err.h"

#define CCS_FILE_INFLATED_MAX ((uint64_t)4 << 30)
enum { JSON_BYTES_MAX = 128 << 20 };

struct ccs_file {
    struct objects objects;      /* indexed */
    json_t *nodes;               /* the document, if objects.format is "nodes.json" */
    char sha256[DIGEST_HEX_MAX]; /* of the stored file */
};

void ccs_file_init(struct ccs_file *c);
void ccs_file_release(struct ccs_file *c);
/* `key`: for an encrypted file (sealed.h); may be NULL. */
int ccs_file_read(
    const char *path, const char *key, struct ccs_file *c, struct err *err) MUST_CHECK;
/* The same from memory. `name` is used in messages. */
int ccs_file_read_bytes(
    const char *name, struct rdb_bytes bytes, struct ccs_file *c, struct err *err) MUST_CHECK;

/*
 * Turns a JSON document into objects (sets all->format). Forms: {"bdb:5": {"name": "x", …},
 * "bdb:all": ["5"]}; values as lists of pairs; {"type": "hash", "value": …} around any value; a
 * list of such documents or of pairs of key and value; nodes.json.
 */
int ccs_file_json(json_t *document, struct objects *all, struct err *err) MUST_CHECK;

#endif
