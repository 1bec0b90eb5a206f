# wsgate: the WebSocket gateway
#
#   make              build wsgated and wsgatectl into build/
#   make run          install what is missing, build, run with a local nats-server, print what to try
#   make check        install what tests need, build, run all tests: unit, end to end, conformance, faults in short
#   make check-faults all of the fault suite      make soak    the judge, KILLS=1000 SEED=1
#   make check-clients  clients that are large to install: Java, Go, libsoup
#   make check-cluster  three brokers, three gateways and HAProxy in namespaces, under faults (root; some five minutes)
#   make check-ktls   TLS where the kernel has the keys: on this one, or on Debian's in an emulated machine (a quarter of an hour)
#   make unit         unit tests alone            make e2e     end-to-end tests alone (T=name: one of them)
#   make conformance  RFC 6455 to the letter, section by section (T=utf8: one of them)
#   make fuzz         fuzz parsers, rings and channels (SECONDS=60 each); make check runs what was found once
#   make bench        benchmarks against bare programs (ROWS=idle,echo-64 SCALE=0.1 RUNS=3)
#   make bench-million  as many idle connections as the machine carries (COUNT=1000000 MINUTES=30)
#   make bench-codec  frames alone, against wslay and npm ws    make bench-compression  what it costs and saves
#   make model        many users on many gateways, on paper, from measured costs (test/bench/costs.json)
#   make install      DESTDIR= PREFIX=/usr/local SYSCONFDIR=/etc LOCALSTATEDIR=/var
#   make uninstall    the same variables
#   make deb          a Debian package in build/deb/    make check-deb  tries it with dpkg, on this machine
#   make format       clang-format over the tree  make lint    layering, includes, man pages, scripts
#   make clean
#
#   SAN=address|undefined|thread builds into build-SAN/ with that sanitizer.   V=1 shows commands.
#   JEMALLOC= links wsgated without jemalloc, which it takes where pkg-config finds it.

VERSION = 0.1.0
CC ?= gcc
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
LOCALSTATEDIR ?= /var
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
SAN ?=
B = build$(if $(SAN),-$(SAN))
Q = $(if $(V),,@)

PKG_CONFIG ?= pkg-config
PKGS = cjose libevent libnats libssl libcrypto libconfuse jansson libseccomp zlib
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

# llhttp: a library where there is one (Debian 13 on), else the sources of Debian's node-llhttp.
LLHTTP_DIR ?= /usr/share/llhttp
LLHTTP_INC ?= /usr/share/include/llhttp
LLHTTP_LIBS := $(shell $(PKG_CONFIG) --libs libllhttp 2>/dev/null)
ifeq ($(LLHTTP_LIBS),)
LLHTTP_CFLAGS = -isystem $(LLHTTP_INC)
LLHTTP_OBJ = \
	$(B)/llhttp/api.o \
	$(B)/llhttp/http.o \
	$(B)/llhttp/llhttp.o
else
LLHTTP_CFLAGS := $(shell $(PKG_CONFIG) --cflags libllhttp)
LLHTTP_OBJ =
endif

# The allocator of wsgated is jemalloc, where it is there: nats.c frees messages on another thread
# than it takes them on, which costs a fifth of the time with libc's. Sanitizers have their own.
JEMALLOC ?= $(if $(SAN),,$(shell $(PKG_CONFIG) --silence-errors --libs jemalloc))

WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wundef -Wvla -Wwrite-strings -Wformat=2 -Wno-format-nonliteral -Werror
HARDEN = $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE -fno-common $(HARDEN_CC)
HARDEN_CC := $(shell $(CC) -fstack-clash-protection -fcf-protection -E -x c /dev/null >/dev/null 2>&1 && \
	echo -fstack-clash-protection -fcf-protection)
HARDEN_LD = -pie -Wl,-z,relro,-z,now,-z,noexecstack
OPT ?= -O2 -g
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE -Iinclude -DWSGATE_VERSION='"$(VERSION)"' $(OPT) $(WARN) $(HARDEN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -DWSGATE_SANITIZED) $(if $(filter thread,$(SAN)),-Wno-tsan) $(LLHTTP_CFLAGS) $(PKG_CFLAGS) -MMD -MP $(CFLAGS)
LDFLAGS_ALL = $(HARDEN_LD) $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
LIBS = $(LLHTTP_LIBS) $(PKG_LIBS) -lpthread

include src/sources.mk
include test/unit/tests.mk

all: $(B)/wsgated $(B)/wsgatectl

$(B)/wsgated: $(WSGATED_SRC:%.c=$(B)/%.o) $(LLHTTP_OBJ)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(JEMALLOC) $(LIBS)

$(B)/wsgatectl: $(WSGATECTL_SRC:%.c=$(B)/%.o)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(B)/src/worker/page.o: $(wildcard src/worker/page/*)

# Who knows where the configuration is when nobody says it: made again when that is another place.
CONFIG_USERS = $(B)/src/main.o $(B)/src/ctl/wsgatectl.o $(B)/src/worker/live.o
$(CONFIG_USERS): $(B)/sysconfdir
$(CONFIG_USERS): CFLAGS_ALL += -DCONFIG_FILE='"$(SYSCONFDIR)/wsgate/wsgate.conf"'
$(B)/sysconfdir: ALWAYS
	@mkdir -p $(@D); echo '$(SYSCONFDIR)' | cmp -s - $@ || echo '$(SYSCONFDIR)' >$@
ALWAYS:

$(B)/llhttp/%.o: $(LLHTTP_DIR)/%.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) -std=gnu11 $(OPT) $(HARDEN) $(if $(SAN),-fsanitize=$(SAN)) -I$(LLHTTP_INC) -w -c -o $@ $<

# A unit test links only the sources that it names (tests.mk): coupling shows.
define unit_test
$(B)/test/unit/$(1): $(B)/test/unit/$(1).o $$($(1)_SRC:%.c=$(B)/%.o) $$(if $$(filter src/ws/handshake.c,$$($(1)_SRC)),$$(LLHTTP_OBJ))
	@echo "  LD      $$@"
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ -lcmocka $$(LIBS)
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_test,$(t))))

unit-build: $(UNIT_TESTS:%=$(B)/test/unit/%)

unit: unit-build
	$(Q)BUILD=$(B) scripts/test unit

# The same program with another layout of shared memory, as a later version may have it.
OTHER_LAYOUT = $(B)/test/wsgated-other-layout
$(B)/test/other-layout/shm.o: src/ipc/shm.c
	@mkdir -p $(@D)
	@echo "  CC      $< (another layout)"
	$(Q)$(CC) $(CFLAGS_ALL) -DSHM_LAYOUT=1000 -c -o $@ $<
$(OTHER_LAYOUT): $(filter-out $(B)/src/ipc/shm.o,$(WSGATED_SRC:%.c=$(B)/%.o)) $(B)/test/other-layout/shm.o $(LLHTTP_OBJ)
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(JEMALLOC) $(LIBS)

e2e: all $(OTHER_LAYOUT) clients-build
	$(Q)BUILD=$(B) scripts/test e2e $(T)

conformance: all
	$(Q)BUILD=$(B) scripts/test conformance $(T)

deps:
	$(Q)scripts/deps build

check:
	$(Q)scripts/deps build check
	$(Q)$(MAKE) --no-print-directory all unit-build fault-build fuzz-build clients-build $(OTHER_LAYOUT)
	$(Q)BUILD=$(B) scripts/test

run:
	$(Q)scripts/deps build run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) scripts/run

fuzz:
	$(Q)scripts/deps build fuzz
	$(Q)scripts/fuzz $(SECONDS)

include test/e2e/clients/clients.mk
include test/fault/fault.mk
include test/fuzz/fuzz.mk
include test/bench/bench.mk

bench:
	$(Q)scripts/deps build bench
	$(Q)$(MAKE) --no-print-directory all bench-build
	$(Q)BUILD=$(B) scripts/bench

format:
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')

lint:
	$(Q)scripts/lint

# Paths in what is installed are the package's: /usr/sbin, /etc, /var; here they become ours.
INSTALLED_PATHS = sed -e 's,/usr/sbin/wsgated,$(PREFIX)/sbin/wsgated,g' \
	-e 's,/usr/bin/wsgatectl,$(PREFIX)/bin/wsgatectl,g' \
	-e 's,/etc/\(default\|init.d\|wsgate\)/,$(SYSCONFDIR)/\1/,g' \
	-e 's,/var/log/wsgate,$(LOCALSTATEDIR)/log/wsgate,g'
# $(call place,mode,file,where)
place = install -d $(DESTDIR)$(3) && $(INSTALLED_PATHS) $(2) >$(DESTDIR)$(3)/$(notdir $(2)) && \
	chmod $(1) $(DESTDIR)$(3)/$(notdir $(2))
# The same, but what an operator may have changed stays.
place_once = test -e $(DESTDIR)$(3)/$(notdir $(2)) || { $(place); }

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LOCALSTATEDIR)/log/wsgate
	install -m 755 $(B)/wsgated $(DESTDIR)$(PREFIX)/sbin/wsgated
	install -m 755 $(B)/wsgatectl $(DESTDIR)$(PREFIX)/bin/wsgatectl
	$(call place,755,etc/init.d/wsgated,$(SYSCONFDIR)/init.d)
	$(call place_once,644,etc/default/wsgated,$(SYSCONFDIR)/default)
	$(call place_once,644,etc/logrotate.d/wsgate,$(SYSCONFDIR)/logrotate.d)
	$(call place_once,644,etc/wsgate.conf,$(SYSCONFDIR)/wsgate)
	$(call place,644,etc/systemd/wsgated.service,$(UNITDIR))
	$(call place,644,etc/sysusers.d/wsgate.conf,$(SYSUSERSDIR))
	$(foreach f,$(wildcard etc/examples/*),$(call place,644,$f,$(PREFIX)/share/doc/wsgate/examples) && ) :
	for p in man/*.[0-9]; do s=$${p##*.}; \
		install -d $(DESTDIR)$(PREFIX)/share/man/man$$s && \
		$(INSTALLED_PATHS) $$p >$(DESTDIR)$(PREFIX)/share/man/man$$s/$${p##*/} || exit 1; done

# What an operator may have changed stays: the configuration, /etc/default, the logrotate rule, the log.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/wsgated $(DESTDIR)$(PREFIX)/bin/wsgatectl \
		$(DESTDIR)$(SYSCONFDIR)/init.d/wsgated $(DESTDIR)$(UNITDIR)/wsgated.service \
		$(DESTDIR)$(SYSUSERSDIR)/wsgate.conf
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/wsgate/examples
	for p in man/*.[0-9]; do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${p##*.}/$${p##*/}; done

deb:
	$(Q)scripts/deps build deb
	$(Q)VERSION=$(VERSION) scripts/deb

check-cluster:
	$(Q)scripts/deps build cluster
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) scripts/test cluster $(T)

check-ktls:
	$(Q)scripts/deps build ktls
	$(Q)$(MAKE) --no-print-directory all $(OTHER_LAYOUT)
	$(Q)BUILD=$(B) scripts/check-ktls $(T)

check-deb: deb
	$(Q)scripts/deps run
	$(Q)VERSION=$(VERSION) scripts/check-deb

clean:
	rm -rf build build-address build-undefined build-thread build-fuzz

help:
	@sed -n 's/^#//p;/^VERSION/q' Makefile

.PHONY: all deps check run unit unit-build e2e conformance fuzz bench format lint install uninstall deb check-deb check-cluster check-ktls clean help

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)
