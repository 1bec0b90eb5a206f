# The benchmarks' own programs: WebSocket clients, and the yardstick, a bare nats.c program.
BENCH_LOAD_SRC = \
	test/bench/load.c \
	test/bench/load_child.c \
	test/bench/load_conn.c \
	test/bench/load_frame.c \
	test/bench/load_open.c \
	test/bench/load_setup.c \
	test/bench/load_tls.c

BENCH_YARD_SRC = \
	test/bench/yard.c \
	test/bench/yard_link.c \
	test/bench/yard_live.c \
	test/bench/yard_pub.c \
	test/bench/yard_wait.c

$(B)/test/bench/load: $(BENCH_LOAD_SRC:%.c=$(B)/%.o)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/test/bench/yard: $(BENCH_YARD_SRC:%.c=$(B)/%.o)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/test/bench/door: $(B)/test/bench/door.o
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# The codec alone, from memory, beside wslay.
BENCH_CODEC_SRC = \
	test/bench/codec.c \
	src/ws/deflate.c \
	src/ws/frame.c \
	src/ws/mask.c \
	src/ws/message.c \
	src/ws/utf8.c \
	src/ws/utf8_blocks.c

$(B)/test/bench/codec: $(BENCH_CODEC_SRC:%.c=$(B)/%.o)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lwslay $(LIBS)

bench-build: $(B)/test/bench/door $(B)/test/bench/load $(B)/test/bench/yard

bench-million:
	$(Q)scripts/deps build bench
	$(Q)$(MAKE) --no-print-directory all bench-build
	$(Q)BUILD=$(B) scripts/bench-million

bench-codec:
	$(Q)scripts/deps build codec
	$(Q)$(MAKE) --no-print-directory $(B)/test/bench/codec
	$(Q)BUILD=$(B) scripts/bench-codec

# What compression costs and saves.
bench-compression:
	$(Q)scripts/deps build check
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) WSGATE_BUILD=$(CURDIR)/$(B) node test/bench/compression.mjs | grep -v '^ok '

# Many users on many gateways, on paper; test/bench/cluster_costs.py measures what a cluster pays.
model:
	$(Q)python3 test/bench/model.py $(MODEL)

.PHONY: model bench-build bench-million bench-codec bench-compression
