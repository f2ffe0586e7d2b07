"""What HTTP sources have in common: how to log in, to page, to read parts of an API, and to take its errors."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from dataforge.components.base import JsonValue, SourceConfig
from dataforge.components.fields import ColumnName, ConnectionId, Duration, TemplatedText
from dataforge.components.placeholders import CURSOR
from dataforge.sources._http import check_endpoint

Scalar = TemplatedText | bool | int | float
Position = Literal["query", "body", "header"]
DottedPath = Annotated[str, Field(max_length=500)]
_NAME = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_TOKEN = re.compile(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}\Z")
BETWEEN = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

OWN_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Options(BaseModel):
    """Base of all of these: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check_header(name: str) -> str:
    """Return the name of a header that takes a secret of the connection, or is looked at in an answer."""
    if not _TOKEN.match(name):
        raise ValueError(f"{name!r} is no header name")
    if name.lower() in OWN_HEADERS - {"authorization", "cookie"}:
        raise ValueError(f"header {name!r} belongs to the protocol")
    return name


def check_location(location: str, *names: str | None) -> None:
    """Raise ValueError where a parameter would go into a header that a config may not set."""
    if location == "header":
        check_headers({name: "" for name in names if name})


def check_headers(value: dict[str, str]) -> dict[str, str]:
    """Return headers that may stand in a config: none that belong to the connection or to the protocol."""
    for name, text in value.items():
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"header {name!r} can't stand in a config; auth belongs into the Airflow connection")
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ValueError(f"{name!r} is no header name")
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise ValueError(f"header {name!r} has a control character in it")
    return value


def check_place(value: str) -> str:
    """Return an endpoint that stays below the connection's base URL; one with `${…}` is looked at when it is filled."""
    if "${" not in value and (bad := check_endpoint(value)):
        raise ValueError(f"{value!r} {bad}")
    return value


HeaderName = Annotated[str, AfterValidator(check_header)]
Headers = Annotated[dict[str, TemplatedText], AfterValidator(check_headers)]
Endpoint = Annotated[TemplatedText, AfterValidator(check_place)]
FromExtra = Annotated[str | None, Field(max_length=200)]


# ---- Auth: who we are. What is secret stands in the Airflow connection, and only its place is named here.


class BasicAuth(Options):
    """Login and password of the connection, as HTTP Basic; the same happens when no auth is given."""

    type: Literal["basic"] = "basic"


class BearerAuth(Options):
    """A token of the connection in the header `Authorization`."""

    type: Literal["bearer"] = "bearer"
    from_extra: FromExtra = Field(
        default=None, description="Key of the connection's extra that holds the token; its password when not set."
    )
    scheme: str = Field(default="Bearer", max_length=50, description="Word before the token.", examples=["Token"])


class ApiKeyAuth(Options):
    """A key of the connection in a header or query parameter."""

    type: Literal["api_key"] = "api_key"
    name: HeaderName = Field(description="Name of the header or parameter.", examples=["X-Api-Key"])
    location: Literal["header", "query"] = Field(default="header", description="Where the key goes.")
    from_extra: FromExtra = Field(
        default=None, description="Key of the connection's extra that holds it; its password when not set."
    )
    prefix: str = Field(default="", max_length=100, description="Text right before the key.", examples=["Token token="])


class OAuth2Auth(Options):
    """An access token of an OAuth 2 token endpoint, asked for when it is needed and again when it has expired.

    The client id and secret are login and password of the connection.
    """

    type: Literal["oauth2"] = "oauth2"
    grant: Literal["client_credentials", "refresh_token"] = Field(
        default="client_credentials", description="What the token is given for."
    )
    connection: ConnectionId | None = Field(
        default=None,
        description="Airflow connection of type http of the token server, with client id and secret as login and "
        "password; the source's own connection when not set.",
    )
    endpoint: Endpoint = Field(
        default="/oauth/token", description="Path of the token endpoint below that connection's base URL."
    )
    from_extra: str = Field(
        default="refresh_token",
        max_length=200,
        description="Key of that connection's extra that holds the refresh token, for grant refresh_token.",
    )
    scopes: tuple[str, ...] = Field(default=(), description="Scopes to ask for.", examples=[["read:orders"]])
    params: dict[str, TemplatedText] = Field(
        default_factory=dict, description="Further fields of the token request.", examples=[{"audience": "https://x"}]
    )
    client_auth: Literal["body", "basic"] = Field(
        default="body", description="Whether client id and secret go into the form or into HTTP Basic."
    )
    token_path: DottedPath = Field(default="access_token", description="Dotted path to the token in the answer.")
    expires_path: DottedPath = Field(
        default="expires_in", description="Dotted path to the seconds that the token is valid for."
    )
    header: HeaderName = Field(default="Authorization", description="Header that takes the token.")
    scheme: str = Field(default="Bearer", max_length=50, description="Word before the token.")


class SessionAuth(Options):
    """A token that a login endpoint gives for login and password of the connection."""

    type: Literal["session"] = "session"
    endpoint: Endpoint = Field(description="Path of the login below the base URL.", examples=["/login"])
    method: Literal["POST", "GET"] = Field(default="POST", description="HTTP method of the login.")
    send: Literal["json", "form", "basic"] = Field(
        default="json", description="How login and password are sent: as fields of a body, or as HTTP Basic."
    )
    login_field: str = Field(default="username", max_length=200, description="Field that takes the login.")
    password_field: str = Field(default="password", max_length=200, description="Field that takes the password.")
    params: dict[str, TemplatedText] = Field(default_factory=dict, description="Further fields of the login's body.")
    token_path: DottedPath = Field(
        default="token", description="Dotted path to the token in the answer.", examples=["result.session"]
    )
    location: Literal["header", "query"] = Field(default="header", description="Where the token goes.")
    name: HeaderName = Field(default="Authorization", description="Header or parameter that takes the token.")
    scheme: str = Field(default="Bearer", max_length=50, description="Word before the token; none when empty.")
    lifetime: Duration = Field(
        default=timedelta(hours=1), description="How long a token is used before the next login."
    )


class JwtAuth(Options):
    """A JSON web token that is signed here with a key of the connection."""

    type: Literal["jwt"] = "jwt"
    algorithm: Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"] = Field(
        description="How the token is signed."
    )
    from_extra: FromExtra = Field(
        default=None,
        description="Key of the connection's extra that holds the secret or the private key (PEM); its password when "
        "not set.",
    )
    base64_key: bool = Field(default=False, description="Whether the signing key is sent through base64 first.")
    claims: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Claims besides iat and exp, which are set here.",
        examples=[{"iss": "app-1", "aud": "appstoreconnect-v1"}],
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Further fields of the token's header.", examples=[{"kid": "2X9R4HXF34"}]
    )
    lifetime: Duration = Field(default=timedelta(minutes=20), description="How long each token is valid.")
    header: HeaderName = Field(default="Authorization", description="Header that takes the token.")
    scheme: str = Field(default="Bearer", max_length=50, description="Word before the token.")


Auth = Annotated[BasicAuth | BearerAuth | ApiKeyAuth | OAuth2Auth | SessionAuth | JwtAuth, Field(discriminator="type")]


# ---- Pagination


class NoPagination(Options):
    """One request gives everything."""

    type: Literal["none"] = "none"


class LinkHeader(Options):
    """The `Link` header names the next page (rel="next")."""

    type: Literal["link_header"] = "link_header"


class NextUrl(Options):
    """The body names the URL of the next page; none, null or an empty text ends it."""

    type: Literal["next_url"] = "next_url"
    path: DottedPath = Field(default="next", min_length=1, description="Dotted path to it.", examples=["links.next"])
    has_more: DottedPath | None = Field(default=None, description="Dotted path to whether more pages follow.")


_LOCATION = "Whether it goes into the query, a header or the body, where a dotted path leads into a JSON body."


class Cursor(Options):
    """The answer gives a cursor to send with the next request; none, null or an empty text ends it."""

    type: Literal["cursor"] = "cursor"
    path: DottedPath | None = Field(
        default=None,
        min_length=1,
        description="Dotted path to the cursor in the body.",
        examples=["meta.next_cursor"],
    )
    header: HeaderName | None = Field(default=None, description="Header of the answer that holds it instead.")
    last_record: DottedPath | None = Field(
        default=None, min_length=1, description="Dotted path to it in the last record of the page instead."
    )
    has_more: DottedPath | None = Field(default=None, description="Dotted path to whether more pages follow.")
    param: str = Field(default="cursor", min_length=1, max_length=200, description="Parameter that takes the cursor.")
    location: Position = Field(default="query", description=_LOCATION)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.path, self.header, self.last_record)) != 1:
            raise ValueError("a cursor needs one of 'path', 'header' and 'last_record'")
        check_location(self.location, self.param)
        return self


class Page(Options):
    """Pages have numbers; an empty page, `has_more`, `total_pages` or `total` ends it."""

    type: Literal["page"] = "page"
    param: str = Field(default="page", min_length=1, max_length=200, description="Parameter that takes the number.")
    start: int = Field(default=1, ge=0, description="Number of the first page.")
    size_param: str | None = Field(default=None, max_length=200, description="Parameter that takes the page size.")
    size: int | None = Field(default=None, ge=1, description="Records to ask for per page.")
    has_more: DottedPath | None = Field(default=None, description="Dotted path to whether more pages follow.")
    total_pages: DottedPath | None = Field(default=None, description="Dotted path to the number of pages.")
    total: DottedPath | None = Field(default=None, description="Dotted path to the number of all records.")
    location: Position = Field(default="query", description=_LOCATION)

    @model_validator(mode="after")
    def _free_headers(self) -> Self:
        check_location(self.location, self.param, self.size_param)
        return self


class Offset(Options):
    """Records are skipped by number; an empty page, `has_more` or `total` ends it."""

    type: Literal["offset"] = "offset"
    param: str = Field(default="offset", min_length=1, max_length=200, description="Parameter: records to skip.")
    limit_param: str = Field(default="limit", min_length=1, max_length=200, description="Parameter: records per page.")
    limit: int = Field(default=100, ge=1, description="Records to ask for per page.")
    has_more: DottedPath | None = Field(default=None, description="Dotted path to whether more records follow.")
    total: DottedPath | None = Field(default=None, description="Dotted path to the number of all records.")
    location: Position = Field(default="query", description=_LOCATION)

    @model_validator(mode="after")
    def _free_headers(self) -> Self:
        check_location(self.location, self.param, self.limit_param)
        return self


Pagination = Annotated[NoPagination | LinkHeader | NextUrl | Cursor | Page | Offset, Field(discriminator="type")]


# ---- Parts: one walk through the pages for each value of a list, each record of a parent, each span of time


class Part(Options):
    """What lists and parents have in common."""

    name: str = Field(
        description="Name of the value: `{name}` stands for it in endpoint, query, headers and body.",
        examples=["order_id"],
    )
    param: str | None = Field(default=None, max_length=200, description="Parameter that takes the value.")
    location: Position = Field(default="query", description=_LOCATION)
    column: ColumnName | None = Field(
        default=None, description="Column that is added to each record with the value; not one that records have."
    )

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value) or value in ("slice_start", "slice_end"):
            raise ValueError(f"{value!r} is no name: letters, digits and '_', and neither slice_start nor slice_end")
        return value

    @model_validator(mode="after")
    def _free_headers(self) -> Self:
        check_location(self.location, self.param)
        return self


class ListPartition(Part):
    """Each value of a list."""

    type: Literal["list"] = "list"
    values: tuple[Scalar, ...] = Field(
        min_length=1, max_length=10_000, description="The values, each read by itself.", examples=[["eu", "us"]]
    )


class ParentPartition(Part):
    """Each record of a parent: its pages are read first, each distinct key once. Earlier parts may stand in it."""

    type: Literal["parent"] = "parent"
    endpoint: Endpoint = Field(description="Path of the parent's records.", examples=["/v1/orders"])
    method: Literal["GET", "POST"] = Field(default="GET", description="HTTP method.")
    headers: Headers = Field(default_factory=dict, description="Further headers.")
    query: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        default_factory=dict,
        description="Query parameters. With ${cursor} only parents that changed are read: right where a child can't "
        "change without its parent.",
        json_schema_extra={"x-cursor": True},
    )
    body: dict[str, JsonValue] | None = Field(
        default=None,
        description="Body of a POST, in the form that the source's body_format says.",
        json_schema_extra={"x-templated": True, "x-cursor": True},
    )
    records: DottedPath = Field(default="", description="Dotted path to the list of parents in the answer.")
    pagination: Pagination = Field(default_factory=NoPagination, description="How to get further parents.")
    key: DottedPath = Field(
        default="id", min_length=1, description="Dotted path to the value in a parent; one without it is left out."
    )
    columns: dict[ColumnName, DottedPath] = Field(
        default_factory=dict,
        description="Further columns of each record: column name to a dotted path in its parent.",
        examples=[{"order_number": "number"}],
    )

    @model_validator(mode="after")
    def _body_fits(self) -> Self:
        check_body(self.method, self.body, self.pagination)
        return self


Partition = Annotated[ListPartition | ParentPartition, Field(discriminator="type")]


def check_body(method: str, body: Any, pagination: Any) -> None:
    """Raise ValueError where a GET would have a body."""
    if method == "GET" and (body is not None or getattr(pagination, "location", "") == "body"):
        raise ValueError('a body needs "method": "POST"')


class Slices(Options):
    """Spans of time that are read one after the other, from the cursor (or `start`) up to now."""

    start: TemplatedText = Field(
        description="Where reading begins while there is no cursor.", examples=["2024-01-01T00:00:00Z"]
    )
    step: Duration | None = Field(
        default=None, description="Length of a span; one span for everything when not set.", examples=["30d"]
    )
    granularity: Duration = Field(
        default=timedelta(0),
        description="By how much a span ends before the next one begins: the API's smallest unit where it includes "
        "the end, 0s where it does not.",
        examples=["1s"],
    )
    format: str = Field(
        default="iso",
        max_length=100,
        description="How times are written, in UTC: iso, epoch, epoch_ms, or a pattern of strftime, with %_ms for "
        "milliseconds.",
        examples=["%Y-%m-%d"],
    )
    start_param: str | None = Field(default=None, max_length=200, description="Parameter that takes the start.")
    end_param: str | None = Field(default=None, max_length=200, description="Parameter that takes the end.")
    location: Position = Field(default="query", description=_LOCATION)

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.step is not None and (self.step <= timedelta(0) or self.granularity >= self.step):
            raise ValueError("'step' must be above 0 and above 'granularity'")
        check_location(self.location, self.start_param, self.end_param)
        if self.format not in ("iso", "epoch", "epoch_ms") and "%" not in self.format:
            raise ValueError(f"{self.format!r} is no format: iso, epoch, epoch_ms or a pattern such as '%Y-%m-%d'")
        return self


# ---- Errors


class ErrorRule(Options):
    """What to do with an answer; all that is given must hold. The first rule that fits decides."""

    status: tuple[int, ...] = Field(default=(), description="HTTP statuses; any when empty.", examples=[[404, 410]])
    message: str | None = Field(default=None, min_length=1, max_length=500, description="Text that the body holds.")
    path: DottedPath | None = Field(
        default=None, min_length=1, description="Dotted path to a value that is there and not empty, 0 or false."
    )
    equals: str | bool | int | float | None = Field(default=None, description="What the value at `path` must be.")
    action: Literal["retry", "rate_limited", "ignore", "fail", "accept"] = Field(
        description="retry tries again; rate_limited does so after the wait that the answer asks for; ignore takes the "
        "answer for a last page without records; fail ends the run; accept reads it as any other."
    )
    says: str = Field(default="", max_length=500, description="What a failure says to people.")

    @model_validator(mode="after")
    def _looks_at_something(self) -> Self:
        if not self.status and self.message is None and self.path is None:
            raise ValueError("a rule needs one of 'status', 'message' and 'path'")
        if self.equals is not None and self.path is None:
            raise ValueError("'equals' needs 'path'")
        return self


class Retry(Options):
    """How a request is repeated when its failure may pass."""

    tries: int = Field(default=3, ge=1, le=50, description="Tries of one request, the first one included.")
    backoff: Literal["exponential", "constant"] = Field(
        default="exponential", description="Whether waits double or stay the same."
    )
    first_wait: Duration | None = Field(default=None, description="First wait; 1s when not set.", examples=["5s"])
    max_wait: Duration = Field(
        default=timedelta(seconds=60),
        description="Longest wait; where a server asks for a longer one, the task's own retries take over.",
    )
    wait_header: HeaderName | None = Field(
        default=None,
        description="Header of the answer that says how long to wait, besides Retry-After.",
        examples=["X-RateLimit-Reset"],
    )
    wait_kind: Literal["seconds", "epoch", "epoch_ms", "date"] = Field(
        default="seconds", description="What that header holds: seconds to wait, or the time to come back at."
    )
    repeat_post: bool = Field(
        default=False, description="Whether a POST may be repeated as a GET may: right where it only reads."
    )


# ---- What all of them have


class HttpSourceConfig(SourceConfig):
    """Base of configs of sources that ask an HTTP server."""

    connection: ConnectionId = Field(
        description="Airflow connection of type http: base URL, auth and secret headers.", examples=["shop_api"]
    )
    headers: Headers = Field(
        default_factory=dict, description="Further headers; secret ones belong into the connection's extra."
    )
    retry: Retry = Field(default_factory=Retry, description="How a request is repeated when its failure may pass.")
    requests_per_second: float | None = Field(
        default=None, gt=0, le=1000, description="Most requests per second; unlimited when not set."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=60), description="Longest time for one answer with its whole body."
    )
    total_timeout: Duration = Field(default=timedelta(hours=1), description="Longest time for all pages together.")
    max_pages: int = Field(
        default=100_000, ge=1, description="Most pages to read, those of parents too; more is an error."
    )

    def login_options(self) -> Any:
        """Return how to log in; None where the connection's own login does."""
        return None


def names_between(text: str) -> set[str]:
    """Return the names that stand in braces in a text."""
    return set(BETWEEN.findall(text.replace("${", "$ ")))


def holds_cursor(value: JsonValue) -> bool:
    """Whether a `${cursor}` stands anywhere in a value."""
    if isinstance(value, dict):
        return any(map(holds_cursor, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_cursor, value))
    return isinstance(value, str) and CURSOR.search(value) is not None
