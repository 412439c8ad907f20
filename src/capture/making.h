#ifndef CAPTURE_MAKING_H
#define CAPTURE_MAKING_H

/* A CCS file in the making. */

#include <jansson.h>

#include "document.h"
#include "recluster/capture.h"

struct making {
    struct live *live;
    const struct capture_params *params;
    struct document now, before; /* before: the file that the location holds, or empty */
    json_t *findings;            /* [{"code", "message"}] */
};

/* The node at the address, new if needed. server: one that answered there, or NULL. */
struct hash *making_node(struct making *m, const char *addr, const struct live_server *server);

/* Adds a finding. A message that is not UTF-8 is left out. */
void making_finding(struct making *m, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
