/*
 * puppet: worker_main and bridge_main of the tests of the master: each calls the test there, and
 * does what it says; see fakes.h.
 */
#ifndef WSGATE_TEST_PUPPET_H
#define WSGATE_TEST_PUPPET_H

#include <sys/socket.h>
#include <sys/un.h>

extern struct sockaddr_un puppet_address;

#endif
