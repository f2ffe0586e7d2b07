"""Uploaded sample files that are too old, as maintenance and the page remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataforge.runtime.uploads import Place
from dataforge.settings import Settings

if TYPE_CHECKING:
    from dataforge.store.database import Store


def sweep_old(store: Store, settings: Settings) -> int:
    """Remove uploads that are older than `uploads_days`; return how many.

    What lies there is told by its own age as well: a worker that sees the files may not see the store that knows them.
    """
    from dataforge.store import uploads

    place = Place.of(settings)
    old = set(uploads.forget_old(store, settings.uploads_days))
    old |= place.left(older_than_seconds=settings.uploads_days * 86_400)
    for id_ in old:
        place.remove(id_)
    return len(old)
