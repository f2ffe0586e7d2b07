"""An answer on its way, over any client: errors translated, and ended from any thread by cutting its wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dataforge.gateway.base import Call, End, Piece
from dataforge.gateway.faults import Place, fault
from dataforge.gateway.lines import Line, Lines


class Streamed:
    """Pieces of an answer, then its end."""

    def __init__(self, lines: Lines, place: Place, call: Call, begin: Callable[[Line], Iterator[Piece | End]]) -> None:
        self._lines = lines
        self._place = place
        self._call = call
        self._begin = begin
        self.line = Line()

    def __iter__(self) -> Iterator[Piece | End]:
        self._lines.use(self.line)
        try:
            yield from self._begin(self.line)
        except Exception as error:  # noqa: BLE001 it is told by what it means
            raise fault(error, self._place, self.line, self._call) from None
        finally:
            self.line.cut()

    def close(self) -> None:
        """End the call at the server."""
        self.line.cut()
