"""A WebSocket server that does one thing wrong, on purpose, to see whether the load generator
notices. A room or an echo as every peer has them, slowly and in plain sight.

faulty_peer.py [--fault NAME] [--tls CERT KEY]; prints its port and serves until standard input
ends.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import ssl
import sys

FAULTS = {
    "none": "nothing is wrong",
    "lose": "the second member of a room does not get message 5",
    "repeat": "the second member of a room gets message 5 twice",
    "swap": "the second member of a room gets message 6 before message 5",
    "corrupt": "the second member of a room gets message 5 with another letter at its end",
    "stray": "the second member of a room also gets a message that nobody sent",
    "close": "the second member of a room is closed with 1013 at message 5",
    "refuse": "each handshake is answered with 503",
    "key": "each handshake is answered with the wrong Sec-WebSocket-Accept",
    "masked": "each message is sent in a masked frame",
    "reserved": "each message is sent with a reserved bit",
    "silent": "each handshake is never answered",
    "stuck": "no message is answered after message 5",
}


def frame(payload, opcode=1, first=0x80, masked=0):
    size = len(payload)
    head = bytes([first | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


async def read_frame(reader):
    """(opcode, payload) of a whole frame of a client, which must be final and masked."""
    first, second = await reader.readexactly(2)
    assert first & 0xF0 == 0x80 and second & 0x80, "a client's frame is final and masked"
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert size >= 126, "a length is written as shortly as it can be"
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
        assert size >= 65536, "a length is written as shortly as it can be"
    key = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    repeated = key * (size // 4 + 1)
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")
    return first & 15, number.to_bytes(size, "big")


class Server:
    def __init__(self, arguments):
        self.fault = arguments.fault
        self.pieces = arguments.pieces
        self.together = arguments.together
        self.fragments = arguments.fragments
        self.ping = arguments.ping
        self.rooms = {}
        self.held = None
        self.gathered = {}
        self.tasks = []
        self.locks = {}

    def encode(self, payload, opcode):
        if self.fault == "masked":
            return frame(payload, opcode, masked=0x80)
        if self.fault == "reserved":
            return frame(payload, opcode, first=0xC0)
        if not self.fragments:
            return frame(payload, opcode)
        third = len(payload) // 3
        return (frame(payload[:third], opcode, first=0) + frame(b"between", 9)
                + frame(b"", 0, first=0) + frame(payload[third:], 0))

    async def write(self, writer, data):
        """In one piece, or in many, so that the reader sees frames cut at each octet. With
        --together what comes within some milliseconds is one write first, so that pieces end
        anywhere in a later frame."""
        if self.together:
            gathered = self.gathered.setdefault(writer, [])
            gathered.append(data)
            if len(gathered) > 1:
                return
            await asyncio.sleep(0.005)
        async with self.locks.setdefault(writer, asyncio.Lock()):
            data = b"".join(self.gathered.pop(writer)) if self.together else data
            with contextlib.suppress(ConnectionError):
                await self.write_pieces(writer, data)

    async def write_pieces(self, writer, data):
        for start in range(0, len(data), self.pieces or len(data)):
            writer.write(data[start:start + (self.pieces or len(data))])
            if self.pieces:
                await writer.drain()
                await asyncio.sleep(0.0005)

    def copies(self, second, number, payload, opcode):
        """What one member gets instead of a message: the frames to write."""
        whole = self.encode(payload, opcode)
        if not second or self.fault not in ("lose", "repeat", "swap", "corrupt", "stray"):
            return [whole]
        if self.held is not None:
            held, self.held = self.held, None
            return [whole, held]
        if number != 5:
            return [whole]
        if self.fault == "swap":
            self.held = whole
        return {"lose": [], "repeat": [whole, whole], "swap": [],
                "corrupt": [self.encode(payload[:-1] + b"!", opcode)],
                "stray": [whole, self.encode(payload[:8] + b"ffffffff" + payload[16:], opcode)],
                }[self.fault]

    async def deliver(self, members, payload, opcode):
        number = int(payload[8:16], 16)
        if self.fault == "stuck" and number > 5:
            return
        for place, writer in enumerate(members):
            if self.fault == "close" and place == 1 and number == 5:
                writer.write(frame((1013).to_bytes(2, "big"), 8))
                continue
            for data in self.copies(place == 1, number, payload, opcode):
                writing = self.write(writer, data)
                if self.together:
                    self.tasks.append(asyncio.create_task(writing))
                else:
                    await writing

    async def handshake(self, reader, writer):
        """The path, or None when the client is to be left."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {line.split(":")[0].lower(): line.split(": ")[1] for line in head[1:] if line}
        assert headers["sec-websocket-version"] == "13" and headers["upgrade"] == "websocket"
        if self.fault == "silent":
            await reader.read()
            return None
        if self.fault == "refuse":
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            return None
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        digest = hashlib.sha1(key.encode()).digest()
        if self.fault == "key":
            digest = digest[::-1]
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket"
                     b"\r\nSec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n")
        return head[0].split(" ")[1]

    async def ask(self, reader, writer, members):
        """Sends a ping, and no message before its pong has come."""
        writer.write(frame(b"are you there", 9))
        early = []
        opcode, payload = await read_frame(reader)
        while opcode != 10:
            early.append((opcode, payload))
            opcode, payload = await read_frame(reader)
        assert payload == b"are you there", "a pong has its ping's payload"
        for opcode, payload in early:
            await self.deliver(members, payload, opcode)

    async def serve(self, reader, writer):
        members = []
        try:
            path = await self.handshake(reader, writer)
            if path is None:
                return
            if path.startswith("/room/"):
                members = self.rooms.setdefault(path, [])
            members.append(writer)
            if self.ping:
                await self.ask(reader, writer, members)
            while True:
                opcode, payload = await read_frame(reader)
                if opcode == 8:
                    writer.write(frame(payload, 8))
                    return
                if opcode in (1, 2):
                    await self.deliver(members, payload, opcode)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if writer in members:
                members.remove(writer)
            writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--pieces", type=int, default=0, help="bytes a write")
    parser.add_argument("--together", action="store_true", help="several messages a write")
    parser.add_argument("--fragments", action="store_true", help="with a ping between them")
    parser.add_argument("--ping", action="store_true", help="before the first message")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    arguments = parser.parse_args()
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.tls)
    server = await asyncio.start_server(Server(arguments).serve, "127.0.0.1", 0, ssl=context,
                                        limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
