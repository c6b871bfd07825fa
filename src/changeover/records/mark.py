"""The mark: how many decisions the journal holds, kept outside of it.

SQLite takes a write-ahead log that is damaged, cut or missing for one that ends early: it opens, and has forgotten
what stood there. The mark tells. It is written after each decision and not synchronised, so it may be behind, never
ahead of a sound journal; it is no part of what is decided and costs no more than a write to memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_DIGITS: Final = 20


class Mark:
    """The file beside the journal.

    Args:
        path: of the file; it is made at the first decision.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> int:
        """Decisions at the last write; 0 when there is no mark, or one that cannot be read."""
        try:
            text = self.path.read_bytes()[:_DIGITS]
        except OSError:
            return 0
        return int(text) if len(text) == _DIGITS and text.isdigit() else 0

    def write(self, decisions: int) -> None:
        """Note it in place; a full or failing disk leaves the old mark, which is no harm."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(descriptor, b"%0*d\n" % (_DIGITS, decisions), 0)
            finally:
                os.close(descriptor)
        except OSError:
            return
