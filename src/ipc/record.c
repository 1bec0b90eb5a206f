#include <string.h>

#include <wsgate/record.h>
#include <wsgate/ring.h>

bool up_parse(const void *payload, size_t size, struct up_view *out)
{
	struct up_record *r = &out->r;
	const char *p;

	if (size < sizeof(*r))
		return false;
	memcpy(r, payload, sizeof(*r));
	p = (const char *)payload + sizeof(*r);
	if (!r->service_len || !r->user_len || r->service_len > TOKEN_MAX ||
		r->user_len > TOKEN_MAX || r->text > 1 ||
		(r->trace_len && r->trace_len != sizeof(struct trace_context)) ||
		size != sizeof(*r) + r->service_len + r->user_len + r->trace_len + (size_t)r->len)
		return false;
	out->id.service = p;
	out->id.service_len = r->service_len;
	out->id.user = p + r->service_len;
	out->id.user_len = r->user_len;
	out->data = (const uint8_t *)p + r->service_len + r->user_len;
	out->trace = r->trace_len ? out->data : NULL;
	out->data += r->trace_len;
	return true;
}

static bool down_parse_message(const void *payload, size_t size, struct down_view *out)
{
	const struct down_message *m = payload;

	if (size < sizeof(*m) || m->nrefs < 1 || m->nrefs > DOWN_REFS_MAX ||
		size != sizeof(*m) + m->nrefs * sizeof(struct down_ref) + m->len)
		return false;
	out->m = m;
	out->refs = (const struct down_ref *)(m + 1);
	out->data = (const uint8_t *)(out->refs + m->nrefs);
	return true;
}

bool down_parse(uint16_t type, const void *payload, size_t size, struct down_view *out)
{
	const struct down_notice *n = payload;

	if (type == DOWN_MESSAGE)
		return down_parse_message(payload, size, out);
	if (type < DOWN_OPENED || type > DOWN_ANSWER || size < sizeof(*n) ||
		size != sizeof(*n) + n->reason_len)
		return false;
	out->n = n;
	out->reason = (const char *)(n + 1);
	return true;
}
