"""What the clients in Python share: lines out, lines in, the messages of the protocol (README)."""
import os
import ssl
import sys
import time
import zlib


def say(*words):
    os.write(1, (" ".join(str(w) for w in words) + "\n").encode())


def message(data):
    kind = "binary"
    if isinstance(data, str):
        kind, data = "text", data.encode()
    say("message", kind, len(data), f"{zlib.crc32(data):08x}")


def numbered(i, size):
    return str(i).ljust(size, ".")


def octets(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def busy(path):
    """Nothing else runs on this thread meanwhile: that is the point."""
    say("busy")
    while os.path.exists(path):
        time.sleep(0.02)
    say("idle")


class Options:
    def __init__(self):
        self.url = sys.argv[1]
        opts = dict(a.partition("=")[::2] for a in sys.argv[2:])
        self.cookie = opts.get("cookie")
        self.deflate = "deflate" in opts
        self.tls = ssl.create_default_context(cafile=opts["ca"]) if "ca" in opts else None


async def commands(table):
    """Reads lines and calls table[word](rest of the line), which may be a coroutine."""
    import asyncio

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        done = obey(table, line.decode().rstrip("\n"))
        if asyncio.iscoroutine(done):
            await done


def obey(table, line):
    word, _, rest = line.partition(" ")
    if word in table:
        return table[word](rest)
    say("error no", word, "here")
