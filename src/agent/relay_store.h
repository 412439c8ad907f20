#ifndef AGENT_RELAY_STORE_H
#define AGENT_RELAY_STORE_H

/*
 * A location of which the operator's side brings the bytes over the link (recluster/relay.h): this
 * host neither reaches it nor knows its logins. For a method that runs in a child process; its call
 * must outlive the store. One read at a time, of all such stores of a call.
 */

#include "method.h"
#include "recluster/store.h"

/* `file`: of the call's files, from 0. */
struct store *relay_store_open(struct agent_call *call, const char *label, json_int_t file);

#endif
