/*
 * pem: see pem.h.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "pem.h"

const char *pem_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return reason ? reason : "no memory";
}

STACK_OF(X509) * pem_certs(const uint8_t *data, size_t len, const char **why)
{
	BIO *in = BIO_new_mem_buf(data, (int)len);
	STACK_OF(X509) *list = sk_X509_new_null();
	bool end = false;
	X509 *x;

	ERR_clear_error();
	while (in && list && (x = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
		if (sk_X509_push(list, x))
			continue;
		X509_free(x);
		break;
	}
	end = ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_PEM &&
	      ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	BIO_free(in);
	if (end && sk_X509_num(list) > 0) {
		ERR_clear_error();
		return list;
	}
	*why = end ? "there is no certificate in it (PEM is expected)" : pem_reason();
	sk_X509_pop_free(list, X509_free);
	return NULL;
}

/* Without it OpenSSL would ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)arg = true;
	return -1;
}

EVP_PKEY *pem_key(const uint8_t *data, size_t len, const char **why)
{
	BIO *in = BIO_new_mem_buf(data, (int)len);
	bool asked = false;
	EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &asked) : NULL;

	BIO_free(in);
	if (!key && asked)
		*why = "the key has a passphrase; take it off with openssl pkey";
	else if (!key)
		*why = "there is no private key in it (PEM is expected)";
	ERR_clear_error();
	return key;
}

/* -1: makes no sense */
static time_t pem_time(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) ? timegm(&tm) : -1;
}

bool pem_ocsp_read(struct pem_ocsp *o, const uint8_t *data, size_t len, const char **why)
{
	const uint8_t *p = data;
	ASN1_GENERALIZEDTIME *next = NULL;

	*o = (struct pem_ocsp){.response = d2i_OCSP_RESPONSE(NULL, &p, (long)len)};
	if (!o->response) {
		*why = "there is no OCSP response in it (DER is expected)";
	} else if (OCSP_response_status(o->response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
		*why = "the OCSP response says that the request failed";
	} else {
		o->basic = OCSP_response_get1_basic(o->response);
		if (o->basic && OCSP_resp_count(o->basic) == 1)
			o->single = OCSP_resp_get0(o->basic, 0);
		*why = "the OCSP response is not for one certificate";
	}
	ERR_clear_error();
	if (!o->single) {
		pem_ocsp_free(o);
		return false;
	}
	(void)OCSP_single_get0_status(o->single, NULL, NULL, NULL, &next);
	o->until = pem_time(next);
	return true;
}

/* By the issuer's name and the serial number; the issuer's key only the client looks at. */
bool pem_ocsp_is_for(const struct pem_ocsp *o, const X509 *cert)
{
	OCSP_CERTID *id = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(o->single);
	ASN1_OCTET_STRING *name = NULL;
	ASN1_OBJECT *digest = NULL;
	ASN1_INTEGER *serial = NULL;
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!OCSP_id_get0_info(&name, &digest, NULL, &serial, id) ||
		ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(cert)) != 0 ||
		!EVP_get_digestbyobj(digest) ||
		!X509_NAME_digest(
			X509_get_issuer_name(cert), EVP_get_digestbyobj(digest), hash, &n))
		return false;
	return (unsigned)ASN1_STRING_length(name) == n &&
	       memcmp(ASN1_STRING_get0_data(name), hash, n) == 0;
}

void pem_ocsp_free(struct pem_ocsp *o)
{
	OCSP_BASICRESP_free(o->basic);
	OCSP_RESPONSE_free(o->response);
	*o = (struct pem_ocsp){.until = -1};
}
