/*
 * control: the socket in runtime_dir by which wsgatectl speaks with the master: one request, one
 * answer, over SOCK_SEQPACKET. Room: ipc.
 */
#ifndef WSGATE_CONTROL_H
#define WSGATE_CONTROL_H

#include <stdint.h>
#include <wsgate/proto.h>

#define CONTROL_NAME "control" /* in runtime_dir */
#define CONTROL_VERSION 2

enum control_command {
	CONTROL_STATUS = 1, /* the last reload */
	CONTROL_RELOAD,     /* the answer comes when it has ended */
	CONTROL_CLOSE,      /* end the connections of a user */
	CONTROL_TRACE,      /* follow the messages of a user in the log, for `seconds` */
	CONTROL_DRAIN,      /* the gateway is to be empty, and to go on */
	CONTROL_UNDRAIN,    /* it takes connections again */
};

struct control_request {
	uint16_t version, command;
	uint16_t code; /* CLOSE; TRACE: seconds, 0: no longer; DRAIN: seconds, 0: drain_timeout */
	uint8_t service_len, user_len;
	char service[PROTO_NAME_MAX], user[PROTO_NAME_MAX];
	char reason[PROTO_REASON_MAX]; /* terminated */
};
_Static_assert(sizeof(struct control_request) == 388, "layout");

enum control_result { CONTROL_OK, CONTROL_FAILED, CONTROL_NEVER /* STATUS: none so far */ };

#define CONTROL_TEXT_MAX 1024
struct control_answer {
	uint16_t version, result;
	uint32_t reserved;
	uint64_t connections;        /* CLOSE: so many were told */
	uint64_t at_ms;              /* STATUS: when it ended, since 1970 */
	struct proto_drain drain;    /* STATUS, DRAIN, UNDRAIN: as it is now */
	char text[CONTROL_TEXT_MAX]; /* one line, terminated */
};
_Static_assert(sizeof(struct control_answer) == 1080, "layout");

#endif
