/*
 * record: what travels in the rings. Every record says all that is needed to act on it: an up
 * record may be read by a bridge that never knew the connection. Room: ipc.
 */
#ifndef WSGATE_RECORD_H
#define WSGATE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/subject.h>
#include <wsgate/trace.h>

/* worker → bridge */
enum up_type {
	UP_MESSAGE = 1, /* a client's message */
	UP_FLUSH = 2,   /* answer with DOWN_FLUSHED when all earlier records of this connection are
			   final */
	UP_ASK = 3,     /* may a client come in? payload: the question; index UP_NOBODY; answer with
			   DOWN_ANSWER */
};
#define UP_NOBODY UINT32_MAX /* no route */
struct up_record {
	uint64_t generation; /* of the route */
	uint64_t stamp;      /* CLOCK_MONOTONIC, ns: the order over all rings of a segment; names a
				flush, or a question */
	uint64_t conn; /* the connection's id, as services see it: the same when it moves to another
			  worker */
	uint32_t index; /* of the route */
	uint32_t len;   /* payload bytes */
	uint8_t text;   /* 1 text, 0 binary */
	uint8_t service_len, user_len;
	uint8_t trace_len;  /* 0, or that of a struct trace_context */
	uint32_t waited_us; /* for room in the ring, before the stamp */
			    /* then: service, user, trace context, payload */
};
_Static_assert(sizeof(struct up_record) == 40, "layout");

/* bridge → worker */
enum down_type {
	DOWN_MESSAGE = 1,
	DOWN_OPENED = 2,  /* the route is known; its start mark */
	DOWN_ENDED = 3,   /* the end of the route is known: its place may be used again */
	DOWN_FLUSHED = 4, /* answer to UP_FLUSH */
	DOWN_CLOSE = 5, /* a message of this connection was refused: end it with code and reason */
	DOWN_KICK = 6,  /* end this connection with code and reason, in good order */
	DOWN_REFUSED = 7, /* instead of OPENED: too many connections of this user */
	DOWN_ANSWER =
		8, /* answer to UP_ASK: code is an enum down_answer, reason what the service said */
};
enum down_answer {
	DOWN_ANSWERED,
	DOWN_NOBODY,      /* no service answers */
	DOWN_NOT_ALLOWED, /* the broker forbids it */
	DOWN_TOO_LONG,    /* the answer is longer than DOWN_ANSWER_MAX */
	DOWN_NOT_NOW,     /* ask again */
};
#define DOWN_ANSWER_MAX 4096
/* How a message goes out: what the service said, or the configuration's delivery.text. */
enum down_text { DOWN_TEXT_AUTO, DOWN_TEXT_TEXT, DOWN_TEXT_BINARY }; /* auto: text if it is UTF-8 */
struct down_ref {
	uint64_t generation;
	uint32_t index;
	uint32_t reserved;
};
struct down_message {
	uint64_t seq;
	uint64_t stamp_ns; /* when the broker stored it; since 1970 */
	uint32_t epoch;
	uint32_t len;   /* payload bytes */
	uint32_t nrefs; /* connections of this worker that get it, 1 … DOWN_REFS_MAX */
	uint8_t text;   /* enum down_text */
	uint8_t plain;  /* 1: never compressed */
	uint8_t reserved[2];
	/* then: nrefs struct down_ref, payload */
};
#define DOWN_REFS_MAX 64
struct down_notice { /* all but MESSAGE */
	struct down_ref ref;
	uint64_t seq; /* OPENED: the start mark; FLUSHED: the stamp of the flush; ANSWER: of the
			 question */
	uint32_t epoch;
	uint16_t code; /* CLOSE, KICK, ANSWER */
	uint16_t reason_len;
	/* then: reason */
};
_Static_assert(sizeof(struct down_ref) == 16 && sizeof(struct down_message) == 32 &&
		       sizeof(struct down_notice) == 32,
	"layout");

/* Checked views; false for a record that does not add up. */
struct up_view {
	struct up_record r; /* a copy: who wrote it may write there again */
	struct identity id;
	const uint8_t *trace; /* NULL: none */
	const uint8_t *data;
};
bool up_parse(const void *payload, size_t size, struct up_view *out);
struct down_view {
	const struct down_message *m; /* DOWN_MESSAGE */
	const struct down_ref *refs;
	const uint8_t *data;
	const struct down_notice *n; /* the others */
	const char *reason;
};
bool down_parse(uint16_t type, const void *payload, size_t size, struct down_view *out);

#endif
