"""Text from a wire, a topic or a file, as it may reach a terminal or a log."""

from __future__ import annotations

_ESCAPED = (
    *range(0x20),  # C0: ESC begins what a terminal obeys, CR and LF make lines that nobody wrote
    *range(0x7F, 0xA0),  # DEL and C1
    *(0x061C, 0x200E, 0x200F),  # marks of direction
    *range(0x202A, 0x202F),  # embeddings and overrides, which show text in another order than it has
    *range(0x2066, 0x206A),  # isolates
    *(0x2028, 0x2029),  # separators of lines and paragraphs
    *range(0xD800, 0xE000),  # halves of surrogate pairs: no encoding has them
)
_TABLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _ESCAPED}


def printable(text: object) -> str:
    """``text`` with its control and bidirectional characters escaped: one line, shown in the order it has.

    >>> printable("a rover\\x1b[2J\\u202egate")
    'a rover\\\\x1b[2J\\\\u202egate'
    """
    return str(text).translate(_TABLE)
