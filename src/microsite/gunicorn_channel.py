"""The socket of a client, as gunicorn and the application see it: what they send does not wait for the client."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

READ_BYTES = 64 * 2**10
ANSWER_BYTES = 512 * 2**10
"""What is left of an answer, up to this, is sent on by the worker without a thread."""


class Channel:
    """A socket with a deadline for reading, and with room for what does not fit into its buffer.

    Reading ends at `deadline` (a monotonic time in seconds; None for never) as if the client had
    gone, and then `cut_off` says so: what follows on the connection is not the next request. Sending waits only when more than ANSWER_BYTES are left. `body_waits` says that the body
    has not been collected, so that reading it may hold a thread.
    """

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.unsent = bytearray()
        self.deadline: float | None = None
        self.cut_off = False
        self.body_waits = False
        self.is_api = False
        self.taken_over = False

    def recv(self, size: int) -> bytes:
        if self.deadline is None:
            return self.raw.recv(size)
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.cut_off = True
            return b""
        before = self.raw.gettimeout()
        self.raw.settimeout(left if before is None else min(before, left))
        try:
            return self.raw.recv(size)
        except TimeoutError:
            self.cut_off = True
            return b""
        finally:
            self.raw.settimeout(before)

    def receive(self) -> bytes | None:
        """What has come, without waiting: None when nothing has, nothing at the end."""
        try:
            return self.raw.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def sendall(self, data: bytes | memoryview) -> None:
        sent = 0 if self.unsent else self._send_now(data)
        self.unsent += memoryview(data)[sent:]
        if len(self.unsent) > ANSWER_BYTES:
            self.flush()

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> None:
        if count is None or count > ANSWER_BYTES:
            self.flush()
            self.raw.sendfile(file, offset, count)
            return
        while count and (block := os.pread(file.fileno(), count, offset)):
            self.sendall(block)
            offset += len(block)
            count -= len(block)

    def take_over(self) -> socket.socket:
        """Give the socket to the application for good, as a WebSocket needs it."""
        self.taken_over = True
        return self.raw

    def flush(self) -> None:
        """Send what is left, waiting for the client as long as it takes a piece now and then."""
        unsent, self.unsent = self.unsent, bytearray()
        left = memoryview(unsent)
        while left:
            left = left[self.raw.send(left[:READ_BYTES]) :]

    def _send_now(self, data: bytes | memoryview) -> int:
        before = self.raw.gettimeout()
        self.raw.settimeout(0)
        try:
            return self.raw.send(data)
        except BlockingIOError:
            return 0
        finally:
            self.raw.settimeout(before)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)
