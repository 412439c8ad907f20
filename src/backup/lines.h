#ifndef BACKUP_LINES_H
#define BACKUP_LINES_H

/*
 * The names of an archive's streams. A stream is named by the shard that it began with. After a
 * failover the shard has another uid; the stream keeps its name, also in a later run: lines.json in
 * the archive's folder has [{"name", "slots"}].
 */

#include "manifest.h"
#include "recluster/slots.h"

/*
 * names[i] is the name that the stream would have if it were new. It becomes that of lines.json for
 * the same slots, or most of them, if there is one. Writes lines.json.
 */
int lines_name(const char *folder, const struct slots *const *slots, size_t count,
    char (*names)[MANIFEST_WORD_MAX], struct err *err) MUST_CHECK;

#endif
