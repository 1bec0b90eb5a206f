"""python3-autobahn on asyncio. "pause" is a handler that awaits: the library does not wait for it."""
import asyncio

import txaio
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateResponse, PerMessageDeflateResponseAccept
from lines import Options, busy, commands, message, numbered, octets, say

opt = Options()


class Client(WebSocketClientProtocol):
    def __init__(self):
        super().__init__()
        self.take = asyncio.Event()
        self.take.set()

    def onOpen(self):
        say("open")
        self.task = asyncio.ensure_future(
            commands(
                {
                    "text": self.text,
                    "binary": lambda size: self.sendMessage(octets(int(size)), isBinary=True),
                    "ping": lambda word: self.sendPing(word.encode()),
                    "close": self.end,
                    "busy": busy,
                    "pause": self.pause,
                    "resume": self.resume,
                }
            )
        )

    async def onMessage(self, payload, isBinary):
        await self.take.wait()
        message(payload if isBinary else payload.decode())

    def onPong(self, payload):
        say("pong", payload.decode())

    def onClose(self, wasClean, code, reason):
        say("closed", self.remoteCloseCode or 1006, self.remoteCloseReason or "")
        asyncio.get_running_loop().stop()

    def text(self, rest):
        n, size = map(int, rest.split())
        for i in range(n):
            self.sendMessage(numbered(i, size).encode())

    def end(self, rest):
        code, _, reason = rest.partition(" ")
        self.sendClose(int(code), reason)

    def pause(self, _):
        self.take.clear()
        say("paused")

    def resume(self, _):
        self.take.set()
        say("resumed")


def accept(response):
    return PerMessageDeflateResponseAccept(response) if isinstance(response, PerMessageDeflateResponse) else None


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
txaio.config.loop = loop
factory = WebSocketClientFactory(opt.url, headers={"Cookie": opt.cookie} if opt.cookie else None)
factory.protocol = Client
factory.setProtocolOptions(closeHandshakeTimeout=20)  # 1 s is little where the answer waits for what is stored
if opt.deflate:
    factory.setProtocolOptions(perMessageCompressionOffers=[PerMessageDeflateOffer()], perMessageCompressionAccept=accept)
loop.run_until_complete(loop.create_connection(factory, factory.host, factory.port, ssl=opt.tls))
loop.run_forever()
