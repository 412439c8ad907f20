#ifndef RECLUSTER_AGENT_H
#define RECLUSTER_AGENT_H

/*
 * The agent: serves one host (protocol.h) on a pair of descriptors until the link ends. Returns 0
 * then, or -1 if the input is not JSON-RPC. Methods that still run are killed.
 *
 * It changes the whole process:
 *   - If standard input and output are the link, they become /dev/null, so stray output cannot
 *     corrupt the message stream.
 *   - SIGPIPE is ignored.
 *   - SIGINT is ignored too. A Ctrl-C also reaches a local agent, but the operator's side decides
 *     what it means.
 */

#include "recluster/err.h"

int agent_serve(int in_fd, int out_fd, struct err *err) MUST_CHECK;

#endif
