#ifndef CCS_CHECK_H
#define CCS_CHECK_H

/* The checks of an import; each that fails is a finding, none stops it. */

#include "typed.h"

/* What the typed tables say: topology, slots, what can't be brought back. */
void check_model(struct import *im, const struct ccs *ccs);

/* What only the keys themselves say: sets, links in both directions, keys that can't be read. */
void check_objects(struct import *im, const struct ccs *ccs);

#endif
