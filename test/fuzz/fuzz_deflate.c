/*
 * The first byte says which window, whether there is context, and what the rest is: offers of a
 * handshake; compressed messages, each cut off by a byte of its length; or plain ones, which must
 * come back as they were, also over a window that was carried elsewhere.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/deflate.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
	if (!truth)
		abort();
}

static void offers(const uint8_t *data, size_t size, bool context, unsigned bits)
{
	const struct deflate_rules rules = {context, (uint8_t)(bits < 9 ? 9 : bits)};
	char answer[DEFLATE_ANSWER_MAX], *text = malloc(size + 1);
	struct deflate_terms t;

	check(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	if (deflate_offer_take(text, &rules, &t)) {
		check(strstr(text, "permessage-deflate") != NULL);
		check(t.server_bits >= 8 && t.server_bits <= rules.window_bits);
		check(t.client_bits >= 8 && t.client_bits <= 15);
		check(context || (!t.server_context && !t.client_context));
		check(deflate_offer_answer(&t, answer) == strlen(answer));
		check(!t.say_client_bits || strstr(text, "client_max_window_bits"));
		check(!t.say_server_bits || strstr(text, "server_max_window_bits"));
	}
	free(text);
}

/* The next message: a byte of length, then so many bytes, times 16 for the longer ones. */
static const uint8_t *next(const uint8_t **data, size_t *size, size_t *len)
{
	const uint8_t *m = *data + 1;

	*len = **data < 128 ? **data : (**data - 127u) * 16;
	--*size;
	if (*len > *size)
		*len = *size;
	*data = m + *len;
	*size -= *len;
	return m;
}

static void compressed(const uint8_t *data, size_t size, bool context, unsigned bits)
{
	struct deflate_in *in = deflate_in_new(bits, context);
	struct deflate_room room = {NULL, 0};
	enum deflate_result r = DEFLATE_GOOD;

	check(in != NULL);
	while (size > 0 && (r == DEFLATE_GOOD || !context)) {
		size_t len, got, max = (size_t)1 << *data % 16;
		const uint8_t *m = next(&data, &size, &len);
		uint8_t *copy = malloc(len ? len : 1);

		check(copy != NULL);
		memcpy(copy, m, len);
		r = deflate_in_message(in, copy, len, max, &room, &got);
		check(r != DEFLATE_NO_MEMORY);
		check(r != DEFLATE_GOOD || got <= max);
		check(room.cap <= 65537);
		free(copy);
	}
	deflate_in_free(in);
	deflate_room_free(&room);
}

static struct deflate_out *carried_out(struct deflate_out *o, unsigned bits)
{
	static uint8_t window[DEFLATE_WINDOW_MAX];
	size_t n = deflate_out_window(o, window);

	deflate_out_free(o);
	o = deflate_out_new(bits, 1, 5, true);
	check(o && deflate_out_restore(o, window, n));
	return o;
}

static struct deflate_in *carried_in(struct deflate_in *i, unsigned bits)
{
	static uint8_t window[DEFLATE_WINDOW_MAX];
	size_t n = deflate_in_window(i, window);

	deflate_in_free(i);
	i = deflate_in_new(bits, true);
	check(i && deflate_in_restore(i, window, n));
	return i;
}

static void plain(const uint8_t *data, size_t size, bool context, unsigned bits)
{
	struct deflate_out *o = deflate_out_new(bits, 1, 5, context);
	struct deflate_in *in = deflate_in_new(bits, context);
	struct deflate_room sent = {NULL, 0}, back = {NULL, 0};

	check(o && in);
	while (size > 0) {
		unsigned odd = *data & 3;
		size_t len, n, got;
		const uint8_t *m = next(&data, &size, &len);

		if (!len)
			continue;
		n = deflate_out_message(o, m, len, &sent);
		check(context ? n > 0 : n < len);
		if (n) {
			check(deflate_in_message(in, sent.buf, n, len, &back, &got) ==
				DEFLATE_GOOD);
			check(got == len && memcmp(back.buf, m, len) == 0);
		}
		if (context && odd == 1)
			o = carried_out(o, bits);
		if (context && odd == 2)
			in = carried_in(in, bits);
	}
	deflate_out_free(o);
	deflate_in_free(in);
	deflate_room_free(&sent);
	deflate_room_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(const uint8_t *, size_t, bool, unsigned) = {
		offers, compressed, plain, compressed};

	if (size < 1)
		return 0;
	kinds[data[0] & 3](data + 1, size - 1, data[0] & 4, 8 + (data[0] >> 3 & 7));
	return 0;
}
