/*
 * local: a Unix socket under a name: made, and removed. Room: master.
 */
#ifndef WSGATE_MASTER_LOCAL_H
#define WSGATE_MASTER_LOCAL_H

#include <sys/types.h>
#include <sys/un.h>

/*
 * Bound, mode 0660, owned by who started us and, for root, the group gid; not yet listening. What a
 * dead one left there goes. The descriptor; or -1 with errno: EADDRINUSE: somebody listens there;
 * EEXIST: it is no socket.
 */
int local_open(const char *path, gid_t gid) __attribute__((warn_unused_result));
/*
 * Its mode (0660) and, for root, its group come with its birth: nothing is done to the name
 * afterwards, for the folder may belong to somebody else. gid (gid_t)-1: the group stays. 0, or -1
 * with errno.
 */
int local_bind(int fd, const struct sockaddr_un *un, gid_t gid) __attribute__((warn_unused_result));
/* Only if it is a socket. */
void local_unlink(const char *path);

#endif
