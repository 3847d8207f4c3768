"""Datagrams over a serial line: COBS framing, and a checksum against noise.

on the wire: COBS(datagram | CRC-16/XMODEM) | 0

After noise the next zero byte starts afresh: at most the frame that was hit and its neighbour are lost.
"""

from __future__ import annotations

import binascii
import contextlib
import select
from typing import Any

from gsc_ros.link.transport import TransportError

MAX_FRAME = 65_535


class SerialTransport:
    """One serial port, opened for both directions."""

    def __init__(self, device: str, *, baud: int) -> None:
        try:
            import serial
            from cobs import cobs
        except ImportError as error:
            raise TransportError("the serial transport needs pyserial and cobs: pip install 'gsc-ros[link]'") from error
        self._cobs = cobs
        try:
            self._port: Any = serial.Serial(device, baud, timeout=0, write_timeout=0)
        except (serial.SerialException, OSError, ValueError) as error:
            raise TransportError(f"serial port {device} at {baud} baud: {error}") from error
        self._buffer = bytearray()
        self._unsent = bytearray()
        self.noise = 0  # frames that were damaged on the line

    def cost(self, datagram: bytes) -> int:
        return len(self._framed(datagram))

    def send(self, datagram: bytes) -> None:
        self._unsent += self._framed(datagram)
        if len(self._unsent) > 2 * MAX_FRAME:  # nobody reads at the other end
            del self._unsent[:-MAX_FRAME]
        self._flush()

    def receive(self, timeout_s: float) -> bytes | None:
        self._flush()
        if b"\0" not in self._buffer:
            try:
                if not select.select([self._port.fileno()], [], [], timeout_s)[0]:
                    return None
                self._buffer += self._port.read(4096)
            except Exception:  # pyserial has many for a line that went away
                return None
        frame, zero, rest = bytes(self._buffer).partition(b"\0")
        if not zero:
            if len(self._buffer) > MAX_FRAME:
                self._buffer.clear()
                self.noise += 1
            return None
        self._buffer = bytearray(rest)
        if not frame:
            return None
        try:
            datagram = bytes(self._cobs.decode(frame))
        except self._cobs.DecodeError:
            datagram = b""
        if len(datagram) < 3 or binascii.crc_hqx(datagram[:-2], 0) != int.from_bytes(datagram[-2:], "big"):
            self.noise += 1
            return None
        return datagram[:-2]

    def accepted(self) -> None:
        """Nothing to learn: a line has one other end."""

    def close(self) -> None:
        self._port.close()

    def _framed(self, datagram: bytes) -> bytes:
        return bytes(self._cobs.encode(datagram + binascii.crc_hqx(datagram, 0).to_bytes(2, "big"))) + b"\0"

    def _flush(self) -> None:
        with contextlib.suppress(Exception):  # a full line buffer: what is left goes next time
            while self._unsent:
                written = self._port.write(self._unsent)
                if not written:
                    break
                del self._unsent[:written]
