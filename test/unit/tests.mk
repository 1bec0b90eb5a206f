# One test program a line, and below the sources that each links.
UNIT_TESTS = \
	test_ring

test_ring_SRC = \
	src/ipc/ring.c

UTF8_SRC = \
	src/ws/utf8.c \
	src/ws/utf8_blocks.c

UNIT_TESTS += test_utf8
test_utf8_SRC = \
	$(UTF8_SRC)

UNIT_TESTS += test_vector
test_vector_SRC = \
	src/ws/mask.c \
	$(UTF8_SRC)

UNIT_TESTS += test_frame
test_frame_SRC = \
	src/ws/frame.c \
	src/ws/mask.c \
	$(UTF8_SRC)

# Refuses memory on demand.
UNIT_TESTS += test_message
$(B)/test/unit/test_message: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=realloc
test_message_SRC = \
	src/ws/deflate.c \
	src/ws/frame.c \
	src/ws/mask.c \
	src/ws/message.c \
	$(UTF8_SRC)

# Refuses memory on demand.
UNIT_TESTS += test_deflate
$(B)/test/unit/test_deflate: LDFLAGS_ALL += -Wl,--wrap=realloc
test_deflate_SRC = \
	src/ws/deflate.c \
	src/ws/frame.c \
	src/ws/mask.c \
	src/ws/message.c \
	$(UTF8_SRC)

HANDSHAKE_SRC = \
	src/ws/answer.c \
	src/ws/handshake.c \
	src/ws/identity.c \
	src/ws/origin.c

UNIT_TESTS += test_answer test_handshake test_identity test_origin
test_answer_SRC = $(HANDSHAKE_SRC)
test_handshake_SRC = $(HANDSHAKE_SRC)
test_identity_SRC = $(HANDSHAKE_SRC)
test_origin_SRC = $(HANDSHAKE_SRC)
# Refuses memory on demand.
$(B)/test/unit/test_handshake: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=realloc

UNIT_TESTS += test_deflate_offer
test_deflate_offer_SRC = \
	$(HANDSHAKE_SRC) \
	src/ws/deflate_offer.c

UNIT_TESTS += test_proxy
test_proxy_SRC = \
	$(HANDSHAKE_SRC) \
	src/ws/forwarded.c \
	src/ws/proxy.c

UNIT_TESTS += test_network
test_network_SRC = \
	src/base/network.c

UNIT_TESTS += test_trace
test_trace_SRC = \
	src/base/trace.c

UNIT_TESTS += test_table
test_table_SRC = \
	src/base/table.c

# What a configuration is read with.
CONFIG_SRC = \
	src/base/conauth.c \
	src/base/confile.c \
	src/base/conftext.c \
	src/base/config.c \
	src/base/conservice.c \
	src/base/constream.c \
	src/base/contls.c \
	src/base/devlog.c \
	src/base/log.c \
	src/base/network.c \
	src/base/option.c \
	src/base/option_auth.c \
	src/base/option_service.c \
	src/base/option_stream.c \
	src/base/option_table.c \
	src/base/secrets.c \
	src/base/value.c

# Refuses memory on demand.
UNIT_TESTS += test_config
$(B)/test/unit/test_config: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc,--wrap=reallocarray,--wrap=strdup
test_config_SRC = $(CONFIG_SRC)

UNIT_TESTS += test_option
test_option_SRC = \
	test/unit/option_pages.c \
	$(CONFIG_SRC)

UNIT_TESTS += test_secrets
test_secrets_SRC = $(CONFIG_SRC)

UNIT_TESTS += test_subject
test_subject_SRC = \
	src/base/subject.c

# The clock stands still.
UNIT_TESTS += test_log
$(B)/test/unit/test_log: LDFLAGS_ALL += -Wl,--wrap=clock_gettime
test_log_SRC = \
	src/base/devlog.c \
	src/base/log.c

# Another socket stands in for /dev/log.
UNIT_TESTS += test_syslog
$(B)/test/unit/test_syslog: LDFLAGS_ALL += -Wl,--wrap=connect
test_syslog_SRC = \
	src/base/devlog.c \
	src/base/log.c

UNIT_TESTS += test_daemon
test_daemon_SRC = \
	src/base/daemon.c \
	src/base/devlog.c \
	src/base/log.c

UNIT_TESTS += test_confine
test_confine_SRC = \
	src/base/daemon.c \
	src/base/devlog.c \
	src/base/log.c \
	src/master/confine.c \
	src/master/confine_rules.c

UNIT_TESTS += test_route
test_route_SRC = \
	src/ipc/record.c \
	src/ipc/route.c

UNIT_TESTS += test_stream_edit
test_stream_edit_SRC = \
	src/broker/stream_edit.c

# Plays a host without IPv6.
UNIT_TESTS += test_listen
$(B)/test/unit/test_listen: LDFLAGS_ALL += -Wl,--wrap=socket
test_listen_SRC = \
	src/base/devlog.c \
	src/base/log.c \
	src/master/address.c \
	src/master/listen.c \
	src/master/local.c

UNIT_TESTS += test_notify
test_notify_SRC = \
	src/base/devlog.c \
	src/base/log.c \
	src/master/notify.c

UNIT_TESTS += test_crowd
test_crowd_SRC = \
	src/ipc/crowd.c

# Plays a kernel with large pages.
UNIT_TESTS += test_shm
$(B)/test/unit/test_shm: LDFLAGS_ALL += -Wl,--wrap=mmap,--wrap=sysconf
test_shm_SRC = \
	src/ipc/crowd.c \
	src/ipc/ring.c \
	src/ipc/route.c \
	src/ipc/shm.c

UNIT_TESTS += test_rights
test_rights_SRC = \
	src/ipc/rights.c

UNIT_TESTS += test_chan
test_chan_SRC = \
	src/base/devlog.c \
	src/base/log.c \
	src/base/trace.c \
	src/ipc/chan.c \
	src/ipc/rights.c

UNIT_TESTS += test_corrupt
test_corrupt_SRC = \
	src/base/devlog.c \
	src/base/log.c \
	src/base/trace.c \
	src/ipc/chan.c \
	src/ipc/rights.c \
	src/ipc/record.c \
	src/ipc/ring.c

# The real master; its children are puppets of the test (puppet.c).
MASTER_RIG_SRC = \
	test/unit/fakes.c \
	test/unit/puppet.c \
	$(BASE_SRC) \
	$(IPC_SRC) \
	$(TLS_SRC) \
	$(MASTER_SRC) \
	src/ws/jwt.c \
	src/ws/jwt_keys.c
UNIT_TESTS += test_child test_handover test_upgrade
test_child_SRC = $(MASTER_RIG_SRC)
$(B)/test/unit/test_child: LDFLAGS_ALL += -Wl,--wrap=clock_gettime
test_handover_SRC = $(MASTER_RIG_SRC)
test_upgrade_SRC = $(MASTER_RIG_SRC)

UNIT_TESTS += test_will
test_will_SRC = \
	src/ipc/rights.c \
	src/master/will.c

# They start nats-servers of their own.
RIG_TESTS = test_begin test_broker test_broker_stream test_engine test_forged test_gates test_login \
	test_look test_march test_recheck test_removal test_successor
UNIT_TESTS += $(RIG_TESTS)
$(RIG_TESTS:%=$(B)/test/unit/%): LDFLAGS_ALL += -Wl,--wrap=wire_post
NATS_RIG_SRC = \
	test/unit/nats_rig.c \
	$(BASE_SRC) \
	$(BROKER_SRC)
test_broker_SRC = $(NATS_RIG_SRC)
test_broker_stream_SRC = $(NATS_RIG_SRC)
test_engine_SRC = $(NATS_RIG_SRC)
test_forged_SRC = $(NATS_RIG_SRC)
test_gates_SRC = \
	test/unit/ears.c \
	$(NATS_RIG_SRC)
test_begin_SRC = $(test_gates_SRC)
test_successor_SRC = $(test_gates_SRC)
test_look_SRC = $(NATS_RIG_SRC)
test_march_SRC = $(NATS_RIG_SRC)
test_recheck_SRC = $(NATS_RIG_SRC)
$(B)/test/unit/test_removal: LDFLAGS_ALL += -Wl,--wrap=wire_delete
test_removal_SRC = $(NATS_RIG_SRC)
$(B)/test/unit/test_login: LDFLAGS_ALL += -Wl,--wrap=nats_Sign
test_login_SRC = $(NATS_RIG_SRC)

UNIT_TESTS += test_headers
test_headers_SRC = \
	src/broker/headers.c

UNIT_TESTS += test_stored
test_stored_SRC = \
	src/broker/stored.c \
	src/broker/headers.c

UNIT_TESTS += test_nkey
test_nkey_SRC = \
	src/broker/nkey.c

UNIT_TESTS += test_stats
test_stats_SRC = \
	src/ipc/stats.c

UNIT_TESTS += test_hist
test_hist_SRC = \
	src/ipc/hist.c \
	src/ipc/history.c \
	src/ipc/stats.c

UNIT_TESTS += test_turns
test_turns_SRC = \
	src/base/pace.c \
	src/ipc/turns.c

UNIT_TESTS += test_metrics
test_metrics_SRC = \
	$(BASE_SRC) \
	$(IPC_SRC) \
	src/worker/metrics.c

UNIT_TESTS += test_parcel
test_parcel_SRC = \
	src/ipc/rights.c \
	src/worker/parcel.c

UNIT_TESTS += test_heir
test_heir_SRC = \
	$(BASE_SRC) \
	src/ipc/rights.c \
	src/worker/heir.c \
	src/worker/parcel.c \
	src/ws/deflate.c \
	src/ws/frame.c \
	src/ws/mask.c \
	src/ws/message.c \
	$(UTF8_SRC)

UNIT_TESTS += test_format
test_format_SRC = \
	src/ctl/format.c

UNIT_TESTS += test_orphan
test_orphan_SRC = \
	src/version.c \
	$(BASE_SRC) \
	$(IPC_SRC) \
	$(BROKER_SRC) \
	$(BRIDGE_SRC)

UNIT_TESTS += test_source
test_source_SRC = $(test_orphan_SRC)

UNIT_TESTS += test_accept
test_accept_SRC = \
	src/version.c \
	$(BASE_SRC) \
	$(IPC_SRC) \
	$(WS_SRC) \
	$(TLS_SRC) \
	$(WORKER_SRC)
$(B)/test/unit/test_accept: LDFLAGS_ALL += -Wl,--wrap=conn_send
UNIT_TESTS += test_drain
test_drain_SRC = $(test_accept_SRC)
$(B)/test/unit/test_drain: LDFLAGS_ALL += -Wl,--wrap=worker_clock,--wrap=session_close
UNIT_TESTS += test_live
test_live_SRC = $(test_accept_SRC)
$(B)/test/unit/test_live: LDFLAGS_ALL += -Wl,--wrap=session_reply

# Its random bytes are told apart.
UNIT_TESTS += test_tickets
$(B)/test/unit/test_tickets: LDFLAGS_ALL += -Wl,--wrap=getrandom
test_tickets_SRC = \
	src/base/tickets.c

UNIT_TESTS += test_sni
test_sni_SRC = \
	src/tls/sni.c

# Plays the kernel.
UNIT_TESTS += test_offload test_records
$(B)/test/unit/test_offload: LDFLAGS_ALL += -Wl,--wrap=setsockopt,--wrap=BIO_ctrl
test_offload_SRC = \
	test/unit/tls_rig.c \
	src/tls/offload.c \
	src/tls/traffic.c
# Refuses memory on demand.
UNIT_TESTS += test_seal test_seal_records
$(B)/test/unit/test_seal: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc
SEAL_SRC = \
	test/unit/seal_rig.c \
	test/unit/tls_rig.c \
	src/tls/seal.c \
	src/tls/traffic.c
test_seal_SRC = $(SEAL_SRC)
test_seal_records_SRC = $(SEAL_SRC)
$(B)/test/unit/test_records: LDFLAGS_ALL += -Wl,--wrap=recvmsg,--wrap=sendmsg,--wrap=poll
test_records_SRC = \
	src/tls/records.c

UNIT_TESTS += test_tlsctx
test_tlsctx_SRC = \
	$(BASE_SRC) \
	$(TLS_SRC)
$(B)/test/unit/test_tlsctx: LDFLAGS_ALL += -Wl,--wrap=time
UNIT_TESTS += test_jwt
test_jwt_SRC = \
	src/ws/jwt.c \
	src/ws/jwt_keys.c

UNIT_TESTS += test_credential
test_credential_SRC = \
	$(HANDSHAKE_SRC) \
	src/ws/callout.c \
	src/ws/credential.c \
	$(UTF8_SRC)

UNIT_TESTS += test_vault
test_vault_SRC = \
	src/base/vault.c

UNIT_TESTS += test_callout_cache
test_callout_cache_SRC = \
	src/worker/callout_cache.c
