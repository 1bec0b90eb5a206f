"""A WebSocket client (python3-websockets) driven over stdin/stdout, a JSON object a line.

pyclient.py URL [HEADER:VALUE ...]
in:  {"send": "text"} {"send_hex": "00ff"} {"close": 1000}
out: {"open": true} {"refused": 401} {"text": "..."} {"hex": "..."} {"closed": 1000}
"""
import asyncio
import binascii
import json
import sys

import websockets


def say(**what):
    print(json.dumps(what), flush=True)


async def commands(ws):
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        cmd = json.loads(line)
        if "send" in cmd:
            await ws.send(cmd["send"])
        elif "send_hex" in cmd:
            await ws.send(binascii.unhexlify(cmd["send_hex"]))
        elif "close" in cmd:
            await ws.close(cmd["close"])


async def main(url, headers):
    try:
        ws = await websockets.connect(url, extra_headers=headers, max_size=None)
    except websockets.InvalidStatusCode as e:
        say(refused=e.status_code)
        return
    say(open=True)
    task = asyncio.create_task(commands(ws))
    try:
        async for m in ws:
            if isinstance(m, str):
                say(text=m)
            else:
                say(hex=m.hex())
    except websockets.ConnectionClosedError:
        pass
    say(closed=ws.close_code)
    task.cancel()


asyncio.run(main(sys.argv[1], [tuple(a.split(":", 1)) for a in sys.argv[2:]]))
