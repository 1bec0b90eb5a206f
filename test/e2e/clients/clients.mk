# The clients in C: test/e2e/clients/c_*.c, each with the library that it is about.
CLIENT_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(OPT) -Wall -Wextra -Werror -MMD -MP
C_CLIENTS = lws wslay
lws_LIBS = -lwebsockets
wslay_LIBS = -lwslay -lssl -lcrypto

$(B)/test/clients/%.o: test/e2e/clients/%.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CLIENT_CFLAGS) -c -o $@ $<

$(B)/test/clients/%: $(B)/test/clients/c_%.o $(B)/test/clients/lines.o
	@echo "  LD      $@"
	$(Q)$(CC) -o $@ $^ $($*_LIBS) -lz

# Those that are large to install: make check-clients.
SOUP_CFLAGS = $(shell $(PKG_CONFIG) --cflags libsoup-3.0)
$(B)/test/clients/c_soup.o: CLIENT_CFLAGS += $(SOUP_CFLAGS)
soup_LIBS = $(shell $(PKG_CONFIG) --libs libsoup-3.0)

$(B)/test/clients/gorilla: test/e2e/clients/gorilla.go
	@mkdir -p $(@D)
	@echo "  GO      $<"
	$(Q)GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE=$(abspath $(B)/test/go) go build -o $@ $<

$(B)/test/clients/JavaClient.class: test/e2e/clients/JavaClient.java
	@mkdir -p $(@D)
	@echo "  JAVAC   $<"
	$(Q)javac -d $(@D) $<

large-clients-build: $(B)/test/clients/soup $(B)/test/clients/gorilla $(B)/test/clients/JavaClient.class

check-clients:
	$(Q)scripts/deps build check clients
	$(Q)$(MAKE) --no-print-directory all large-clients-build
	$(Q)BUILD=$(B) scripts/test clients

clients-build: $(C_CLIENTS:%=$(B)/test/clients/%)

.PHONY: clients-build large-clients-build check-clients
.PRECIOUS: $(B)/test/clients/%.o
