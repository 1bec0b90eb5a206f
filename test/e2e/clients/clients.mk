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

clients-build: $(C_CLIENTS:%=$(B)/test/clients/%)

.PHONY: clients-build
.PRECIOUS: $(B)/test/clients/%.o
