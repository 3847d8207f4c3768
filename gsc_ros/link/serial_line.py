"""Datagrams over a serial line: COBS framing, a checksum against noise, an adapter that may be pulled.

on the wire: COBS(datagram | CRC-32) | 0

After noise the next zero byte starts afresh: at most the frame that was hit and its neighbour are lost. The CRC-32
(zlib's) has nothing in common with the CRC-16 inside: what one lets pass the other does not.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
import zlib
from typing import Any

from gsc_ros.link.transport import TransportError

MAX_FRAME = 65_535
CRC_BYTES = 4
FIRST_PAUSE_S, LAST_PAUSE_S = 0.25, 5.0  # before a port that went away is opened again


class SerialTransport:
    """One serial port, opened for both directions, and again where it goes away."""

    def __init__(self, device: str, *, baud: int) -> None:
        try:
            import serial
            from cobs import cobs
        except ImportError as error:
            raise TransportError("the serial transport needs pyserial and cobs: pip install 'gsc-ros[link]'") from error
        self._cobs, self._serial = cobs, serial
        self._device, self._baud = device, baud
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._pause, self._again_at = FIRST_PAUSE_S, 0.0
        self._port: Any = None
        self._closed = False
        self.noise = 0  # frames that were damaged on the line
        self.trouble = ""
        try:
            self._open()
        except (serial.SerialException, OSError, ValueError) as error:
            raise TransportError(f"serial port {device} at {baud} baud: {error}") from error

    @property
    def peer(self) -> str:
        return self._device if self._port is not None else ""

    def cost(self, datagram: bytes) -> int:
        return len(self._framed(datagram))

    def send(self, datagram: bytes) -> None:
        if self._port is None:
            return
        self._unsent += self._framed(datagram)
        if len(self._unsent) > 2 * MAX_FRAME:  # nobody reads at the other end
            del self._unsent[:-MAX_FRAME]
        self._flush()

    def answer(self, datagram: bytes) -> None:
        """There is one other end."""
        self.send(datagram)

    def receive(self, timeout_s: float) -> bytes | None:
        if self._closed or (self._port is None and not self._reopened(timeout_s)):
            return None
        self._flush()
        if b"\0" not in self._buffer and not self._read(timeout_s):
            return None
        if self._buffer[:1] == b"\0":  # a break is many of them
            self._buffer = self._buffer.lstrip(b"\0")
        frame, zero, rest = bytes(self._buffer).partition(b"\0")
        if not zero:
            if len(self._buffer) > MAX_FRAME:
                self._buffer.clear()
                self.noise += 1
            return None
        self._buffer = bytearray(rest)
        try:
            data = bytes(self._cobs.decode(frame))
        except self._cobs.DecodeError:
            data = b""
        datagram = data[:-CRC_BYTES]
        if not datagram or zlib.crc32(datagram) != int.from_bytes(data[-CRC_BYTES:], "big"):
            self.noise += 1
            return None
        return datagram

    def accepted(self) -> None:
        """Nothing to learn: a line has one other end."""

    def close(self) -> None:
        self._closed = True
        self._let_go()

    def _framed(self, datagram: bytes) -> bytes:
        crc = zlib.crc32(datagram).to_bytes(CRC_BYTES, "big")
        return bytes(self._cobs.encode(datagram + crc)) + b"\0"

    # pyserial sets the line up. It does not read and write: its write waits without an end for a line that is full.

    def _open(self) -> None:
        self._port = self._serial.Serial(self._device, self._baud, timeout=0, write_timeout=0)

    def _read(self, timeout_s: float) -> bool:
        """Whether more bytes have come, or the port went away."""
        try:
            if not select.select([self._port.fileno()], [], [], timeout_s)[0]:
                return False
            data = os.read(self._port.fileno(), 4096)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            self._gone(str(error))
            return False
        if not data:  # readable, and nothing to read: a device that was pulled
            self._gone("nothing is there any more")
            return False
        self._buffer += data
        return True

    def _flush(self) -> None:
        if self._port is None:
            return
        try:
            while self._unsent:
                written = os.write(self._port.fileno(), self._unsent)
                del self._unsent[:written]
        except BlockingIOError:  # a full line: what is left goes next time
            pass
        except OSError as error:
            self._gone(str(error))

    def _let_go(self) -> None:
        if self._port is not None:
            with contextlib.suppress(OSError):  # of a device that is gone
                self._port.close()
            self._port = None

    def _gone(self, reason: str) -> None:
        self._let_go()
        self._buffer.clear()
        self._unsent.clear()
        self.trouble = f"serial port {self._device} went away ({reason}): trying to open it again"
        self._pause = FIRST_PAUSE_S
        self._again_at = time.monotonic() + self._pause

    def _reopened(self, timeout_s: float) -> bool:
        """Try to open the port again once its pause is over, waiting at most ``timeout_s``."""
        left = self._again_at - time.monotonic()
        if left > 0:
            time.sleep(min(left, timeout_s))
        if time.monotonic() < self._again_at:
            return False
        try:
            self._open()
        except (self._serial.SerialException, OSError, ValueError):
            self._pause = min(2 * self._pause, LAST_PAUSE_S)
            self._again_at = time.monotonic() + self._pause
            return False
        self.trouble = ""
        return True
