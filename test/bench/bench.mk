# The benchmarks' own programs: WebSocket clients, and the yardstick, a bare nats.c program.
BENCH_LOAD_SRC = \
	test/bench/load.c \
	test/bench/load_child.c \
	test/bench/load_conn.c \
	test/bench/load_frame.c \
	test/bench/load_open.c \
	test/bench/load_setup.c

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

bench-build: $(B)/test/bench/load $(B)/test/bench/yard

.PHONY: bench-build
