#ifndef CCS_FILE_H
#define CCS_FILE_H

/*
 * Reads a CCS file, whatever its form, into objects. The form is told by content: RDB, JSON, or
 * either of them gzipped (several members too). Reads once from front to end, so a pipe is fine.
 *
 * Limits: CCS_FILE_INFLATED_MAX for what a gzipped file may become, those of object.h for what is
 * kept, JSON_BYTES_MAX for a JSON document.
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
    json_t *nodes;               /* the document, where objects.format is "nodes.json" */
    char sha256[DIGEST_HEX_MAX]; /* of the file as it lies there */
};

void ccs_file_init(struct ccs_file *c);
void ccs_file_release(struct ccs_file *c);
int ccs_file_read(const char *path, struct ccs_file *c, struct err *err) MUST_CHECK;

/*
 * A JSON document into objects (sets all->format). Forms: {"bdb:5": {"name": "x", …}, "bdb:all":
 * ["5"]}; values as lists of pairs; {"type": "hash", "value": …} around any value; a list of such
 * documents or of pairs of key and value; nodes.json.
 */
int ccs_file_json(json_t *document, struct objects *all, struct err *err) MUST_CHECK;

#endif
