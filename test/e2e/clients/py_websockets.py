"""python3-websockets: reads ahead into a queue of its own, and answers Pings while it does."""
import asyncio

import websockets
from lines import Options, busy, commands, message, numbered, octets, say


async def main(opt):
    try:
        ws = await websockets.connect(
            opt.url,
            extra_headers={"Cookie": opt.cookie} if opt.cookie else None,
            ssl=opt.tls,
            max_size=None,
            compression="deflate" if opt.deflate else None,
            ping_interval=None,
        )
    except websockets.InvalidStatusCode as e:
        say("refused", e.status_code)
        return
    say("open")
    take = asyncio.Event()
    take.set()

    async def text(rest):
        n, size = map(int, rest.split())
        for i in range(n):
            await ws.send(numbered(i, size))

    async def ping(word):
        await (await ws.ping(word))
        say("pong", word)

    async def close(rest):
        code, _, reason = rest.partition(" ")
        await ws.close(int(code), reason)

    def pause(_):
        take.clear()
        say("paused")

    def resume(_):
        take.set()
        say("resumed")

    task = asyncio.create_task(
        commands(
            {
                "text": text,
                "binary": lambda size: ws.send(octets(int(size))),
                "ping": lambda word: asyncio.create_task(ping(word)) and None,
                "close": close,
                "busy": busy,
                "pause": pause,
                "resume": resume,
            }
        )
    )
    try:
        while True:
            await take.wait()
            data = await ws.recv()
            await take.wait()
            message(data)
    except websockets.ConnectionClosed:
        pass
    say("closed", ws.close_code, ws.close_reason)
    task.cancel()


asyncio.run(main(Options()))
