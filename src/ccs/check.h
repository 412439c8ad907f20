#ifndef CCS_CHECK_H
#define CCS_CHECK_H

/* The checks of an import. A failed check is a finding; none stops the import. */

#include "typed.h"

/* Checks of the typed tables: topology, slots, what cannot be restored. */
void check_model(struct import *im, const struct ccs *ccs);

/* Checks of the keys themselves: sets, links in both directions, unreadable keys. */
void check_objects(struct import *im, const struct ccs *ccs);

#endif
