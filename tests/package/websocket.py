"""A WebSocket client that is just enough to see that an installed server talks."""

import base64
import os
import socket
import struct


class WebSocket:
    def __init__(self, port, path, seconds=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.reader = self.socket.makefile("rb")
        status = self.reader.readline().decode().rstrip()
        if " 101 " not in status + " ":
            raise AssertionError(f"{path} was answered with {status!r}")
        while self.reader.readline() != b"\r\n":
            pass

    def send(self, text):
        payload, mask = text.encode(), os.urandom(4)
        assert len(payload) < 126
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)

    def receive(self):
        """(opcode, payload) of the next frame."""
        first, size = self.reader.read(2)
        if size == 126:
            size, = struct.unpack("!H", self.reader.read(2))
        return first & 15, self.reader.read(size)

    def hear(self):
        """The next text."""
        opcode, payload = self.receive()
        if opcode != 1:
            raise AssertionError(f"a frame of kind {opcode} came: {payload!r}")
        return payload.decode()

    def closed(self):
        """The code that the server closes with; what it says before is passed over."""
        while True:
            opcode, payload = self.receive()
            if opcode == 8:
                return struct.unpack("!H", payload[:2])[0]

    def end(self):
        self.reader.close()
        self.socket.close()
