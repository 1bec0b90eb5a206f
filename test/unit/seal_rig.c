#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "seal_rig.h"

uint8_t seal_in[64 * 1024], seal_out[SEAL_FRONT + SEAL_DATA_MAX + SEAL_BEHIND];
const char *seal_why;
bool seal_more;
const struct seal_state seal_fresh = {
	.cipher = SEAL_AES_128_GCM, .read_secret = "client's", .write_secret = "server's"};

ssize_t seal_receive(struct seal *s)
{
	seal_why = NULL;
	return seal_recv(s, rig.fds[0], seal_in, sizeof(seal_in), &seal_more, &seal_why);
}

void seal_is_fault(struct seal *s, const char *text)
{
	for (int i = 0; i < 2; i++) {
		assert_int_equal(seal_receive(s), -1);
		assert_int_equal(errno, EPROTO);
		assert_string_equal(seal_why, text);
	}
}

void seal_send(struct seal *s, const char *text)
{
	size_t len = strlen(text), n;
	uint8_t *rec;

	memcpy(seal_out + SEAL_FRONT, text, len);
	rec = seal_data(s, seal_out, len, &n);
	assert_non_null(rec);
	assert_true(rec >= seal_out && rec + n <= seal_out + SEAL_FRONT + len + SEAL_BEHIND);
	assert_int_equal(write(rig.fds[0], rec, n), n);
}
