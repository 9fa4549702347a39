"""HTTP by hand, for what no client library would do: bodies that lie, break off, or never come."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Server


@dataclass
class Answer:
    """What came back; status 0 when the connection ended without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection on which a request is written piece by piece."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 20)

    def head(self, method: str, path: str, *headers: dict[str, str]) -> Wire:
        """The request line and headers, and nothing of the body."""
        given = {name: value for some in ({"Host": "127.0.0.1"}, *headers) for name, value in some.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def send(self, data: bytes) -> Wire:
        self.socket.sendall(data)
        return self

    def chunk(self, data: bytes) -> Wire:
        return self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def try_chunks(self, data: bytes, count: int) -> Wire:
        """Send the same chunk over and over, until the server no longer listens."""
        try:
            for _ in range(count):
                self.chunk(data)
        except (ConnectionError, TimeoutError):
            pass
        return self

    def end(self) -> Wire:
        """Say that nothing more will come, and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def answer(self, seconds: float = 20) -> Answer:
        self.socket.settimeout(seconds)
        response = http.client.HTTPResponse(self.socket)
        try:
            response.begin()
            return Answer(response.status, dict(response.getheaders()), response.read())
        except (http.client.HTTPException, ConnectionError):
            return Answer(0)
        finally:
            response.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End the connection as a program that dies does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
