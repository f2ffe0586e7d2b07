"""The opensearch destination: documents by id, or a new index behind an alias."""

from __future__ import annotations

from typing import Literal

from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._search import SearchConfig, SearchDestination


class OpenSearchConfig(SearchConfig):
    """Config of the opensearch destination."""

    type: Literal["opensearch"] = "opensearch"


@DESTINATIONS.register(OpenSearchConfig)
class OpenSearchDestination(SearchDestination):
    """Writes documents of an index of OpenSearch, with ids of the primary key.

    replace writes a new index and moves the alias to it; merge writes each document whole, and the marker after them.
    """
