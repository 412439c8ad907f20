#ifndef RECLUSTER_RDB_XXH3_H
#define RECLUSTER_RDB_XXH3_H

/* XXH3 with the processor's instructions: without this dispatch libxxhash uses SSE2 only. */

#include <xxhash.h>
#ifdef HAVE_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

#endif
