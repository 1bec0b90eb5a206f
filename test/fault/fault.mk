# What the fault suite runs beside wsgated itself: one whose allocations fail on demand.
$(B)/test/fault/wsgated: $(WSGATED_SRC:%.c=$(B)/%.o) $(B)/test/fault/failing.o $(LLHTTP_OBJ)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup -o $@ $^ $(LIBS)

fault-build: $(B)/test/fault/wsgated

fault: all fault-build
	$(Q)BUILD=$(B) scripts/test fault $(T)

check-faults:
	$(Q)scripts/deps build fault
	$(Q)$(MAKE) --no-print-directory all fault-build
	$(Q)BUILD=$(B) scripts/test faults $(T)

soak: all
	$(Q)WSGATE_BUILD=$(B) node test/fault/judge.mjs --seed $(or $(SEED),1) --kills $(or $(KILLS),1000)

.PHONY: fault-build fault check-faults soak
