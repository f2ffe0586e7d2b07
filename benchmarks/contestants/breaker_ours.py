"""Time requests for a config while the model's server is away and its breaker open: `breaker_ours.py TURNS`.

Prints JSON: the milliseconds from the call to the message, of `author`, and of `dataforge author` beyond its start.
Nothing is measured before every import and the first check are behind it, and the breaker was seen to open.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator

from dataforge.authoring import catalogue
from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest
from dataforge.authoring.models import open_models
from dataforge.cli import main as dataforge
from dataforge.settings import get_settings

REQUESTS = (
    "Load visits.csv into the duckdb table visits, but squash whatever is small",
    "Bring parlour public.cones to depot ice.cones every night at 4, and tidy the flavours up a bit",
    (
        "Every hour take new rows of depot ice.sales by sold_at into the duckdb table sales, upsert by sale_id, mask "
        "the phone column, only rows where paid is true, and round the odd prices the way our tills do"
    ),
    "Lade jede Woche montags um sechs kunden.csv in die duckdb-Tabelle kunden und mach die Namen irgendwie huebsch",
)
"""Each needs a model for a part of it."""
WORDS = "is resting until"


def main() -> None:
    """Open the breaker, then ask and ask again."""
    turns = int(sys.argv[1])
    folder = get_settings().configs_folder
    gateway = open_models()

    def drafted(text: str) -> str:
        """As the command line does it, without what it prints and keeps."""
        wish = AuthorRequest(text, actor="bench", folder=folder)
        draft = author(wish, gateway, catalogue=catalogue.read(folder))
        return " ".join(one.message for one in draft.findings if one.code == "model-away")

    def commanded(text: str) -> str:
        """The whole command, in a process that has its imports behind it."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            dataforge(["author", text])
        return out.getvalue()

    for text in (*REQUESTS, *REQUESTS):
        opened = drafted(text)
        commanded(text)
    if WORDS not in opened:
        sys.exit(f"the breaker is not open: {opened!r}")
    found = {name: list(timed(ask, turns)) for name, ask in (("author", drafted), ("command", commanded))}
    print(json.dumps(found))


def timed(ask: Callable[[str], str], turns: int) -> Iterator[float]:
    """Yield the milliseconds of each answer, which must be the message that is meant."""
    for _ in range(turns):
        for text in REQUESTS:
            began = time.perf_counter()
            told = ask(text)
            yield 1000 * (time.perf_counter() - began)
            if WORDS not in told:
                raise RuntimeError(f"another message came: {told[:300]!r}")


if __name__ == "__main__":
    main()
