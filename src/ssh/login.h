#ifndef SSH_LOGIN_H
#define SSH_LOGIN_H

/* Tries one login after the other, until the server requires no more. */

#include "session.h"

struct login;

struct login *login_new(const struct ssh_target *target);
void login_free(struct login *l); /* may be NULL */

/* 0: logged in; SSH_WAIT; -1 with *ret_failure set. */
int login_step(
    struct login *l, struct session *s, enum ssh_failure *ret_failure, struct err *err) MUST_CHECK;
void login_wait(const struct login *l, const struct session *s, struct wait *wait);

#endif
