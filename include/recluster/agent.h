#ifndef RECLUSTER_AGENT_H
#define RECLUSTER_AGENT_H

/*
 * The agent: serves one host (protocol.h) on a pair of descriptors until the input ends. Returns 0
 * then; -1 if the input is no JSON-RPC.
 */

#include "recluster/err.h"

int agent_serve(int in_fd, int out_fd, struct err *err) MUST_CHECK;

#endif
