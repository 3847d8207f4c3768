"""Which boots of the other side were heard, and up to which counter: on disk, as well as the disk allows.

The file ``<key>.<side>.boots`` has one line for each boot, the last one used last: its bytes in hexadecimal, and a
counter that nothing accepted so far goes beyond. It is written ahead, so that a crash leaves it true: by about what
comes in ten seconds, because after a crash without a way back nothing below it is believed. Losing it costs what
docs/link.md says and no more; that it cannot be written is told, and tried again.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from gsc_ros.link.aead import BOOT_BYTES, COUNTER_END

MAX_BOOTS = 64
MOST_AHEAD = 4096  # counters that one write covers in advance
FAST_AHEAD = 16  # at least, where one write follows another soon
WRITE_EVERY_S = 10.0
LOWER_EVERY_S = 60.0  # what a fast link was granted keeps a slow one dark after a crash without a way back


class BootMemory:
    """The highest counter accepted under each of the last ``MAX_BOOTS`` boots."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble = ""  # why the file does not hold what it should, in one line
        self._stored = self._read()  # ceilings of the file
        self._highest: dict[bytes, int] = {}  # of this run, exact
        self._ahead = FAST_AHEAD
        self._written_at = float("-inf")

    @property
    def last(self) -> bytes | None:
        """The boot that was used last."""
        return next(reversed(self._stored), None)

    def highest(self, boot: bytes) -> int:
        """The highest counter that was accepted in this run, -1 for none."""
        return self._highest.get(boot, -1)

    def stored(self, boot: bytes) -> int:
        """The counter of the file that nothing accepted goes beyond, -1 for none."""
        return self._stored.get(boot, -1)

    def floor(self, boot: bytes) -> int | None:
        """Up to which counter nothing of ``boot`` is new, None where it was never heard."""
        return self._highest.get(boot, self._stored.get(boot))

    def accepted(self, boot: bytes, highest: int, now: float) -> None:
        """The counters accepted under ``boot`` go up to ``highest``."""
        self._highest[boot] = highest
        ceiling, since = self._stored.get(boot, -2), now - self._written_at
        if highest <= ceiling and (since < LOWER_EVERY_S or ceiling - highest <= FAST_AHEAD) and not self._again(since):
            return
        if since >= LOWER_EVERY_S:
            self._ahead = 1
        elif since >= WRITE_EVERY_S:
            self._ahead = max(self._ahead // 2, 1)
        else:
            self._ahead = min(max(2 * self._ahead, FAST_AHEAD), MOST_AHEAD)
        self._stored[boot] = highest + self._ahead
        self._stored.move_to_end(boot)
        while len(self._stored) > MAX_BOOTS:
            self._highest.pop(self._stored.popitem(last=False)[0], None)
        self._written_at = now
        self._write(self._stored)

    def _again(self, since: float) -> bool:
        """Whether to try a disk once more that could not be written."""
        return bool(self.trouble) and since >= WRITE_EVERY_S

    def close(self) -> None:
        """Leave the exact counters behind."""
        if self._highest:
            self._write(self._stored | self._highest)

    def _read(self) -> OrderedDict[bytes, int]:
        boots: OrderedDict[bytes, int] = OrderedDict()
        try:
            for line in self._path.read_text("ascii").splitlines()[-MAX_BOOTS:]:
                boot, counter = line.split()
                if len(boot) != 2 * BOOT_BYTES or not -1 <= int(counter) <= COUNTER_END + MOST_AHEAD:
                    raise ValueError(f"{line[:60]!r} is no boot with its counter")
                boots[bytes.fromhex(boot)] = int(counter)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._tell(error)
            boots.clear()
        return boots

    def _write(self, boots: Mapping[bytes, int]) -> None:
        """Whole or not at all, and on the disk when this returns."""
        text = "".join(f"{boot.hex()} {counter}\n" for boot, counter in boots.items())
        try:
            descriptor, partial = tempfile.mkstemp(prefix=self._path.name + ".", dir=self._path.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(partial).replace(self._path)
            except OSError:
                Path(partial).unlink(missing_ok=True)
                raise
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name too
            finally:
                os.close(folder)
            self.trouble = ""
        except OSError as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        self.trouble = (
            f"{self._path}: {reason}; after a restart on a link without a way back old datagrams could be accepted "
            "once more: make its folder writable, with space left"
        )
