# The fuzz targets with their corpus, and no fuzzer: a short replay for make check. What each links, scripts/fuzz says.
FUZZ_TARGETS := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
define fuzz_target
$(B)/test/fuzz/replay_$(1): $(B)/test/fuzz/fuzz_$(1).o $(B)/test/fuzz/replay.o $(patsubst %.c,$(B)/%.o,$(shell scripts/fuzz -s $(1))) $(LLHTTP_OBJ)
	@echo "  LD      $$@"
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(filter-out -lnats,$$(LIBS))
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_target,$(t))))

fuzz-build: $(FUZZ_TARGETS:%=$(B)/test/fuzz/replay_%)

.PHONY: fuzz-build
