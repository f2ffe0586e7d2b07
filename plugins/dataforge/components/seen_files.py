"""Which files a source has given before, as a cursor: a set, so that a file is read once however late it comes.

A file is known by name and version (an ETag; size and time of change), of which a digest of 96 bits is kept: sixteen
characters a file. The whole set stands in the ledger's state, and only there; the marker of a load names the files that
it brought. So a repeat reads those again, and an undo gives them back whichever loads came later.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dataforge.components.delivery import Cursor, CursorPosition, CursorStep, cursor_from_json, cursor_to_json
from dataforge.errors import TerminalError

TYPE = "FILES"
"""The type of a position that is a set of files."""

MOST = 200_000
"""Files that one source can tell apart; their digests take 3 MB in the ledger."""

_BYTES = 12


@dataclass(frozen=True, order=True)
class ListedFile:
    """A file as a listing tells it; `changed` is None where the place does not say."""

    name: str
    version: str
    changed: datetime | None = None

    @property
    def digest(self) -> str:
        """By what name and version are recognised."""
        data = f"{self.name}\0{self.version}".encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:_BYTES]).decode()


def known(position: CursorPosition | None) -> frozenset[str]:
    """Return the digests of the files that were read up to there."""
    text = position.seen if position is not None else ""
    return frozenset(text[start : start + 16] for start in range(0, len(text), 16))


def position_of(digests: Iterable[str], added: Iterable[str] = ()) -> CursorPosition:
    """Return the position after these files, of which the last run read `added`; TerminalError for too many."""
    ordered = sorted(set(digests))
    if len(ordered) > MOST:
        raise TerminalError(
            f"{len(ordered):,} files were read by now, and at most {MOST:,} can be told apart; let the path name fewer "
            "files, such as those of one day, then 'dataforge cursor reset'"
        )
    seen = "".join(ordered)
    name = hashlib.sha256(seen.encode()).hexdigest()[:12]
    return CursorPosition("files", f"{len(ordered)} files {name}", TYPE, tuple(sorted(added)), seen)


def is_at(state: Mapping[str, Any] | None, cursor: Cursor) -> bool:
    """Whether a ledger's cursor, as JSON, is that of a marker, which does not hold the sets of files."""
    return _bare(cursor_from_json(state)) == _bare(cursor)


def taken_back(state: Mapping[str, Any] | None, step: CursorStep) -> tuple[Mapping[str, Any] | None, bool]:
    """Return a ledger's cursor, as JSON, after the load that made `step` is undone; and whether nothing of it is left.

    Other positions go back only where the cursor still stands where that load left it.
    """
    current = cursor_from_json(state)
    last = is_at(state, step.after)
    found = dict(step.before) if last else dict(current)
    for source, after in step.after.items():
        if after.type != TYPE:
            continue
        left = known(current.get(source)) - set(after.ties)
        if left:
            found[source] = position_of(left)
        else:
            found.pop(source, None)
    others = any(after.type != TYPE and after != step.before.get(source) for source, after in step.after.items())
    return (cursor_to_json(found) or None), last or not others


def _bare(cursor: Cursor) -> dict[str, CursorPosition]:
    return {
        # the value alone names the set
        source: replace(position, seen="", ties=()) if position.type == TYPE else position
        for source, position in cursor.items()
    }
