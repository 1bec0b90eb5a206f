"""python3-websocket (websocket-client): synchronous, so Pings are answered inside recv(), when the application calls it."""
import os
import select
import socket
import sys

import websocket
from lines import Options, busy, message, numbered, obey, octets, say

opt = Options()
try:
    ws = websocket.create_connection(
        opt.url,
        cookie=opt.cookie,
        suppress_origin=True,  # else it says that it is a page of http://..., also where it goes to wss://
        sslopt={"context": opt.tls} if opt.tls else None,
        sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
    )
except websocket.WebSocketBadStatusException as e:
    say("refused", e.status_code)
    sys.exit()
say("open")
taking = True


def text(rest):
    n, size = map(int, rest.split())
    for i in range(n):
        ws.send(numbered(i, size))


def take(yes, word):
    global taking
    taking = yes
    say(word)


def close(rest):
    code, _, reason = rest.partition(" ")
    ws.send_close(int(code), reason.encode())


table = {
    "text": text,
    "binary": lambda size: ws.send_binary(octets(int(size))),
    "ping": lambda word: ws.ping(word),
    "close": close,
    "busy": busy,
    "pause": lambda _: take(False, "paused"),
    "resume": lambda _: take(True, "resumed"),
}


def readable():
    """stdin and the socket, when there is something; TLS may hold what select() does not see."""
    held = isinstance(ws.sock, opt.tls.sslsocket_class) and ws.sock.pending() if opt.tls else 0
    watch = [0] + ([ws.sock] if taking else [])
    ready = select.select(watch, [], [], 0 if held and taking else None)[0]
    return 0 in ready, taking and (held or ws.sock in ready)


def receive():
    """One frame, as recv() sees it, with the control frames shown; false at the end."""
    try:
        op, frame = ws.recv_data_frame(True)
    except websocket.WebSocketConnectionClosedException:
        say("closed 1006")
        return False
    if op == websocket.ABNF.OPCODE_CLOSE:
        data = frame.data
        say("closed", int.from_bytes(data[:2], "big") if data else 1005, data[2:].decode())
        return False
    if op == websocket.ABNF.OPCODE_PONG:
        say("pong", frame.data.decode())
    elif op in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
        data = frame.data
        message(data.decode() if op == websocket.ABNF.OPCODE_TEXT else data)
    return True


pending = b""
while True:
    line, frame = readable()
    if line:
        more = os.read(0, 65536)
        if not more:
            break
        *lines, pending = (pending + more).split(b"\n")
        for one in lines:
            obey(table, one.decode())
    if frame and not receive():
        break
ws.shutdown()
