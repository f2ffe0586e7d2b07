"""The opensearch source: documents of an index, as they were at one point in time."""

from __future__ import annotations

from typing import Literal

from dataforge.components.registry import SOURCES
from dataforge.sources._search import SearchConfig, SearchSource


class OpenSearchConfig(SearchConfig):
    """Config of the opensearch source."""

    type: Literal["opensearch"] = "opensearch"


@SOURCES.register(OpenSearchConfig)
class OpenSearchSource(SearchSource):
    """Reads the documents of an index of OpenSearch, all as they were at one point in time.

    Types are decided over all documents, since any field may hold a list; `discover` tells what the mapping says.
    """
