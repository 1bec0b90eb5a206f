/*
 * page: the page for people, one file, compiled in. Room: worker.
 */
#ifndef WSGATE_WORKER_PAGE_H
#define WSGATE_WORKER_PAGE_H

#include <stdbool.h>

#include "worker.h"

extern const char page_begin[], page_end[];

/*
 * Its content security policy, for this request: the page may run its own <script> and <style>, of
 * which there is one each at most, known by their hashes; no attribute (onclick, style) is one of
 * them. Nothing is loaded from elsewhere; connections go to this listener, and with admin.try_out
 * to those for clients. False: OpenSSL fails, or too many listeners.
 */
#define PAGE_HEADERS_MAX 2048
bool page_headers(const struct conn *c, char out[PAGE_HEADERS_MAX]);

#endif
