"""The elasticsearch source: documents of an index, as they were at one point in time."""

from __future__ import annotations

from typing import Literal

from dataforge.components.registry import SOURCES
from dataforge.sources._search import SearchConfig, SearchSource


class ElasticsearchConfig(SearchConfig):
    """Config of the elasticsearch source."""

    type: Literal["elasticsearch"] = "elasticsearch"


@SOURCES.register(ElasticsearchConfig)
class ElasticsearchSource(SearchSource):
    """Reads the documents of an index of Elasticsearch, all as they were at one point in time.

    Types are decided over all documents, since any field may hold a list; `discover` tells what the mapping says.
    """
