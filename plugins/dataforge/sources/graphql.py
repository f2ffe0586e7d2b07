"""The graphql source: any GraphQL API, through an HTTP connection, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from dataforge.components.base import ExtractContext, Files, JsonValue
from dataforge.components.delivery import Grade
from dataforge.components.placeholders import fill_cursor
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError
from dataforge.sources import _json_text
from dataforge.sources._graphql import Conversation, check_query, nodes
from dataforge.sources._http_options import Auth, DottedPath, Endpoint, HttpSourceConfig, Retry, holds_cursor

Document = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(check_query)]


class GraphqlConfig(HttpSourceConfig):
    """Config of the graphql source."""

    type: Literal["graphql"] = "graphql"
    endpoint: Endpoint = Field(default="/graphql", description="Path below the connection's base URL; never a host.")
    auth: Auth | None = Field(
        default=None,
        description="How to log in with what the connection holds; its login and password as HTTP Basic when not set.",
    )
    query: Document = Field(
        description="The GraphQL document; it may only read. For further pages it declares the variable of "
        "`cursor_variable` and selects `pageInfo { hasNextPage endCursor }`.",
        examples=["query($after: String) { all(after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"],
    )
    operation: str | None = Field(
        default=None, max_length=200, description="Name of the operation, where the document has several."
    )
    variables: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Variables of the query; texts may hold ${…}, and with a cursor_field ${cursor}: where the run "
        "begins to read. A variable that holds it is left out while there is no such place.",
        examples=[{"first": 100, "since": "${cursor}"}],
        json_schema_extra={"x-templated": True, "x-cursor": True},
    )
    records: DottedPath = Field(
        min_length=1,
        description="Dotted path, below `data`, to a connection (with `nodes` or `edges`), a list or an object.",
        examples=["shop.orders"],
    )
    cursor_variable: str = Field(
        default="after", max_length=200, description="Variable that takes the cursor of the next page."
    )
    retry: Retry = Field(
        default_factory=lambda: Retry(tries=5, repeat_post=True),
        description="How a request is repeated when its failure may pass; all queries only read.",
    )

    @model_validator(mode="after")
    def _cursor_known(self) -> Self:
        if self.cursor_field is None and holds_cursor(self.variables):
            raise ValueError("'${cursor}' needs 'cursor_field', the field whose greatest value it is")
        return self

    def login_options(self) -> Any:
        """Return `auth`."""
        return self.auth

    def grade(self) -> Grade:
        """Return what reading proves: pages by cursor are a window."""
        return "window"

    def asset(self) -> str | None:
        """Return the path of the records as an asset URI."""
        return f"dataforge://{self.connection}/{self.endpoint.strip('/')}/{self.records}"


@SOURCES.register(GraphqlConfig)
class GraphqlSource:
    """Reads any GraphQL API through an HTTP connection: pages by cursor, errors inside of answers, limits in points."""

    def __init__(self, config: GraphqlConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return all records as one NDJSON file in scratch, each as the server wrote it."""
        context.scratch.mkdir(parents=True, exist_ok=True)
        path = context.scratch / "records.ndjson"
        count = pages = 0
        with path.open("wb") as out:
            for records in self._pages(context):
                _json_text.write_lines(records, out)
                count, pages = count + len(records), pages + 1
                if context.sample is not None and count >= context.sample:
                    break
        context.log("pages read", pages=pages, records=count, bytes=path.stat().st_size)
        return Files("json", (path,), {"format": "newline_delimited"})

    def check(self, context: ExtractContext) -> str:
        """Return what the first page of the query gives."""
        for records in self._pages(context):
            return f"the query on connection {self.config.connection!r} gave {len(records)} record(s) on its first page"
        return "no page"

    def _pages(self, context: ExtractContext) -> Iterator[list[Any]]:
        from dataforge.sources._http_auth import connected

        config = self.config
        try:
            variables = fill_cursor(config.variables, context.cursor) or {}
        except ValueError as error:
            raise TerminalError(f"'${{cursor}}' can't be filled in: {error}") from None
        client = connected(config, context)
        try:
            conversation = Conversation(client, client.url(config.endpoint))
            yield from self._walk(conversation, variables)
        finally:
            client.close()

    def _walk(self, conversation: Conversation, variables: dict[str, Any]) -> Iterator[list[Any]]:
        config, seen = self.config, set[str]()
        pages_by_cursor = f"${config.cursor_variable}" in config.query
        for number in range(1, config.max_pages + 1):
            answer = conversation.ask(config.query, variables, config.operation)
            records, info = nodes(answer.body, config.records)
            yield records
            if not pages_by_cursor:
                if info and info.get("hasNextPage"):
                    raise TerminalError(
                        f"{config.records!r} has further pages, but the query has no variable "
                        f"${config.cursor_variable} that asks for them"
                    )
                return
            if info is None or "hasNextPage" not in info:
                raise TerminalError(f"{config.records!r} has no pageInfo {{ hasNextPage endCursor }}; select it")
            if not info["hasNextPage"]:
                return
            cursor = info.get("endCursor")
            if not isinstance(cursor, str) or cursor in seen:
                raise TerminalError(f"page {number} says that there is a next one, and gives no new endCursor for it")
            seen.add(cursor)
            variables = {**variables, config.cursor_variable: cursor}
        raise TerminalError(f"more than max_pages = {config.max_pages} pages; raise it if that is right")
