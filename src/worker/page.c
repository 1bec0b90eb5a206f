/*
 * page: see page.h. The assembler puts the parts together; the Makefile knows that.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "page.h"

#define PART(file) ".incbin \"src/worker/page/" file "\"\n"
#define TAG(text) ".ascii \"" text "\"\n"

__asm__(".pushsection .rodata\n"
	".global page_begin\n"
	".global page_end\n"
	"page_begin:\n" PART("head.html") TAG("<style>") PART("page.css") TAG("</style>")
		PART("body.html") TAG("<script>") PART("draw.js") PART("page.js") PART("view.js")
			PART("try.js") TAG("</script>") "page_end: .byte 0\n"
							".popsection\n");

#define HASH_MAX 80 /* base64 of 32 bytes, and its quotes */

/* " 'sha256-…'" of what stands between two tags; "" : there is none. */
static bool page_hash(const char *open, const char *close, char out[HASH_MAX])
{
	const char *from = strstr(page_begin, open), *to = from ? strstr(from, close) : NULL;
	unsigned char digest[EVP_MAX_MD_SIZE], text[48];
	unsigned n;

	out[0] = '\0';
	if (!to)
		return true;
	from += strlen(open);
	if (!EVP_Digest(from, (size_t)(to - from), digest, &n, EVP_sha256(), NULL) || n != 32)
		return false;
	EVP_EncodeBlock(text, digest, (int)n);
	snprintf(out, HASH_MAX, " 'sha256-%s'", (char *)text);
	return true;
}

/* They are the program's: made once. */
static bool page_hashes(const char **script, const char **style)
{
	static char scripts[HASH_MAX], styles[HASH_MAX];
	static bool made;

	made = made || (page_hash("<script>", "</script>", scripts) &&
			       page_hash("<style>", "</style>", styles));
	*script = scripts[0] ? scripts : " 'none'";
	*style = styles[0] ? styles : " 'none'";
	return made;
}

/* " ws://HOST:8000", HOST as we were asked, which was checked. */
static bool page_client(const struct conn *c, const char *scheme, const char *listener, char *out)
{
	const char *host = handshake_authority(c->hs), *port = strrchr(listener, ':');
	const char *end = host[0] == '[' ? strchr(host, ']') + 1 : strchr(host, ':');
	size_t at = strlen(out), left = PAGE_HEADERS_MAX / 2 - at;
	int n = end ? (int)(end - host) : (int)strlen(host);

	return c->local || !port ||
	       snprintf(out + at, left, " %s://%.*s%s", scheme, n, host, port) < (int)left;
}

bool page_headers(const struct conn *c, char out[PAGE_HEADERS_MAX])
{
	const struct config *cf = c->w->c;
	char clients[PAGE_HEADERS_MAX / 2] = "";
	const char *script, *style;
	bool good = page_hashes(&script, &style);

	for (size_t i = 0; cf->admin.try_out == SWITCH_ON && i < cf->listen.n; i++)
		good = good && page_client(c, "ws", cf->listen.v[i], clients);
	for (size_t i = 0; cf->admin.try_out == SWITCH_ON && i < cf->ntls; i++)
		good = good && page_client(c, "wss", cf->tls[i].listen, clients);
	return good && snprintf(out, PAGE_HEADERS_MAX,
			       "Content-Security-Policy: default-src 'none'; script-src%s; "
			       "style-src%s; img-src data:; connect-src 'self'%s; "
			       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
			       "X-Frame-Options: DENY\r\n",
			       script, style, clients) < PAGE_HEADERS_MAX;
}
