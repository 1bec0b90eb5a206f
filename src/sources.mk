# One source a line. A file that only one program needs stands in that program's list.
BASE_SRC = \
	src/base/conauth.c \
	src/base/confile.c \
	src/base/conftext.c \
	src/base/config.c \
	src/base/conservice.c \
	src/base/constream.c \
	src/base/contls.c \
	src/base/daemon.c \
	src/base/devlog.c \
	src/base/log.c \
	src/base/memory.c \
	src/base/network.c \
	src/base/option.c \
	src/base/option_auth.c \
	src/base/option_service.c \
	src/base/option_stream.c \
	src/base/option_table.c \
	src/base/pace.c \
	src/base/secrets.c \
	src/base/vault.c \
	src/base/subject.c \
	src/base/table.c \
	src/base/tickets.c \
	src/base/trace.c \
	src/base/value.c

IPC_SRC = \
	src/ipc/chan.c \
	src/ipc/crowd.c \
	src/ipc/figures.c \
	src/ipc/hist.c \
	src/ipc/history.c \
	src/ipc/notes.c \
	src/ipc/pulse.c \
	src/ipc/record.c \
	src/ipc/rights.c \
	src/ipc/ring.c \
	src/ipc/route.c \
	src/ipc/shm.c \
	src/ipc/snapshot.c \
	src/ipc/stats.c \
	src/ipc/turns.c

WS_SRC = \
	src/ws/answer.c \
	src/ws/callout.c \
	src/ws/credential.c \
	src/ws/deflate.c \
	src/ws/deflate_offer.c \
	src/ws/forwarded.c \
	src/ws/frame.c \
	src/ws/handshake.c \
	src/ws/identity.c \
	src/ws/jwt.c \
	src/ws/jwt_keys.c \
	src/ws/mask.c \
	src/ws/message.c \
	src/ws/origin.c \
	src/ws/proxy.c \
	src/ws/utf8.c \
	src/ws/utf8_blocks.c

BROKER_SRC = \
	src/broker/aside.c \
	src/broker/ask.c \
	src/broker/broker_nats.c \
	src/broker/carrier.c \
	src/broker/engine.c \
	src/broker/errand.c \
	src/broker/feed.c \
	src/broker/gates.c \
	src/broker/headers.c \
	src/broker/holders.c \
	src/broker/hookup.c \
	src/broker/job.c \
	src/broker/login.c \
	src/broker/look.c \
	src/broker/nkey.c \
	src/broker/march.c \
	src/broker/npublish.c \
	src/broker/oneshot.c \
	src/broker/queue.c \
	src/broker/removal.c \
	src/broker/request.c \
	src/broker/reread.c \
	src/broker/settings.c \
	src/broker/stored.c \
	src/broker/stream.c \
	src/broker/stream_edit.c \
	src/broker/watch.c \
	src/broker/wire.c

TLS_SRC = \
	src/tls/bundle.c \
	src/tls/offload.c \
	src/tls/pem.c \
	src/tls/records.c \
	src/tls/resume.c \
	src/tls/seal.c \
	src/tls/sni.c \
	src/tls/tlsctx.c \
	src/tls/traffic.c

BRIDGE_SRC = \
	src/bridge/attach.c \
	src/bridge/bconn.c \
	src/bridge/bridge.c \
	src/bridge/buffer.c \
	src/bridge/dispatch.c \
	src/bridge/ended.c \
	src/bridge/fence.c \
	src/bridge/orders.c \
	src/bridge/past.c \
	src/bridge/publish.c \
	src/bridge/query.c \
	src/bridge/quota.c \
	src/bridge/sender.c \
	src/bridge/slots.c \
	src/bridge/source.c \
	src/bridge/stale.c \
	src/bridge/stayed.c \
	src/bridge/streams.c \
	src/bridge/told.c \
	src/bridge/track.c \
	src/bridge/window.c

WORKER_SRC = \
	src/worker/admin.c \
	src/worker/arrive.c \
	src/worker/auth.c \
	src/worker/callout_cache.c \
	src/worker/conn.c \
	src/worker/cork.c \
	src/worker/drain.c \
	src/worker/follow.c \
	src/worker/heir.c \
	src/worker/lane.c \
	src/worker/life.c \
	src/worker/link.c \
	src/worker/live.c \
	src/worker/meter.c \
	src/worker/metrics.c \
	src/worker/move.c \
	src/worker/pack.c \
	src/worker/page.c \
	src/worker/parcel.c \
	src/worker/peer.c \
	src/worker/place.c \
	src/worker/reconf.c \
	src/worker/sealed.c \
	src/worker/sections.c \
	src/worker/send.c \
	src/worker/session.c \
	src/worker/sight.c \
	src/worker/tally.c \
	src/worker/tls.c \
	src/worker/upgrade.c \
	src/worker/wheel.c \
	src/worker/worker.c

MASTER_SRC = \
	src/master/address.c \
	src/master/bequest.c \
	src/master/brief.c \
	src/master/certs.c \
	src/master/child.c \
	src/master/confine.c \
	src/master/confine_rules.c \
	src/master/control.c \
	src/master/family.c \
	src/master/handover.c \
	src/master/hear.c \
	src/master/inherit.c \
	src/master/keyring.c \
	src/master/listen.c \
	src/master/local.c \
	src/master/master.c \
	src/master/notify.c \
	src/master/news.c \
	src/master/pairs.c \
	src/master/program.c \
	src/master/reload.c \
	src/master/said.c \
	src/master/segment.c \
	src/master/upgrade.c \
	src/master/will.c

WSGATED_SRC = \
	src/main.c \
	src/version.c \
	$(BASE_SRC) \
	$(IPC_SRC) \
	$(WS_SRC) \
	$(TLS_SRC) \
	$(BROKER_SRC) \
	$(BRIDGE_SRC) \
	$(MASTER_SRC) \
	$(WORKER_SRC)

WSGATECTL_SRC = \
	src/ctl/check.c \
	src/ctl/format.c \
	src/ctl/json.c \
	src/ctl/order.c \
	src/ctl/sessions.c \
	src/ctl/status.c \
	src/ctl/top.c \
	src/ctl/view.c \
	src/ctl/where.c \
	src/ctl/wsgatectl.c \
	$(BASE_SRC) \
	$(IPC_SRC) \
	$(BROKER_SRC)
