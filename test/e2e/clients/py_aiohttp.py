"""python3-aiohttp: Pings are answered inside receive(), when the application comes to them; Pongs are never shown."""
import asyncio

import aiohttp
from lines import Options, busy, commands, message, numbered, octets, say


async def main(opt):
    async with aiohttp.ClientSession() as session:
        try:
            ws = await session.ws_connect(
                opt.url,
                headers={"Cookie": opt.cookie} if opt.cookie else None,
                ssl=opt.tls,
                max_msg_size=0,
                compress=15 if opt.deflate else 0,
            )
        except aiohttp.WSServerHandshakeError as e:
            say("refused", e.status)
            return
        say("open")
        closing = []
        take = asyncio.Event()
        take.set()

        async def text(rest):
            n, size = map(int, rest.split())
            for i in range(n):
                await ws.send_str(numbered(i, size))

        # close() from another task, while receive() waits, does not wait for the answer: the receiving one has to do it.
        def close(rest):
            closing.append(rest)
            receiving.cancel()

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
                    "binary": lambda size: ws.send_bytes(octets(int(size))),
                    "ping": lambda word: ws.ping(word.encode()),
                    "close": close,
                    "busy": busy,
                    "pause": pause,
                    "resume": resume,
                }
            )
        )
        async def receive():
            while True:
                await take.wait()
                m = await ws.receive()
                await take.wait()
                if m.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    return m.extra or ""
                message(m.data)

        receiving = asyncio.create_task(receive())
        try:
            reason = await receiving
        except asyncio.CancelledError:
            code, _, reason = closing[0].partition(" ")
            await ws.close(code=int(code), message=reason.encode())
        say("closed", ws.close_code, reason)
        task.cancel()


asyncio.run(main(Options()))
