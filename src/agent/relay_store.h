#ifndef AGENT_RELAY_STORE_H
#define AGENT_RELAY_STORE_H

/*
 * A location whose bytes the operator's side sends over the link (recluster/relay.h): this host
 * cannot reach it and does not know its logins. For a method that runs in a child process; its call
 * must outlive the store. Only one read at a time among all such stores of a call.
 */

#include "method.h"
#include "recluster/store.h"

/* `file`: index into the call's files. */
struct store *relay_store_open(struct agent_call *call, const char *label, json_int_t file);

#endif
