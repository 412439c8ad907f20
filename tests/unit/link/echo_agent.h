#ifndef TEST_ECHO_AGENT_H
#define TEST_ECHO_AGENT_H

/* A small agent with odd methods, for tests of links: serves standard input and output. */
int echo_agent(void);

#endif
