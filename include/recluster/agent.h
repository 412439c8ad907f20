#ifndef RECLUSTER_AGENT_H
#define RECLUSTER_AGENT_H

/*
 * The agent: serves one host (protocol.h) on a pair of descriptors until the link ends. Returns 0
 * then; -1 if the input is no JSON-RPC. Methods that still run are killed.
 *
 * It makes the process its own: standard input and output, if they are the link, become /dev/null,
 * so that nothing that prints or reads gets between the messages; SIGPIPE is ignored, and SIGINT
 * too: a Ctrl-C reaches a local agent as well, but it is meant for the operator's side, which
 * decides.
 */

#include "recluster/err.h"

int agent_serve(int in_fd, int out_fd, struct err *err) MUST_CHECK;

#endif
