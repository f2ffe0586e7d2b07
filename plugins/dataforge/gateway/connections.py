"""What one Airflow connection says about a model server.

conn_type   ollama, openai, anthropic, pydanticai…; any other type with the key `provider` in its extra
host, port  the server, as a host or as a URL; the provider's own address when there is none
password    the key
extra       any of the keys of `Extra`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataforge.components.base import Connection
from dataforge.errors import ModelRefused
from dataforge.gateway.faults import Place

Provider = Literal["ollama", "openai", "anthropic", "pydantic_ai", "scripted"]
Lookup = Callable[[str], Connection]

LOCAL = "ollama"
"""The connection that is used when none is set up: Ollama on this machine."""
_ADDRESSES = {
    "ollama": "http://127.0.0.1:11434",
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}


class Extra(BaseModel):
    """The keys of a connection's extra; all of them are optional."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    provider: Provider | None = Field(default=None, description="The protocol, where the connection's type is another.")
    model: str | None = Field(default=None, description="The model to use when none is named.")
    base_url: str | None = Field(default=None, description="The server's address, in place of host and port.")
    num_ctx: int = Field(default=8_192, ge=512, description="Ollama: tokens of context to ask for.")
    keep_alive: str | int | None = Field(default="10m", description="Ollama: how long the model stays in memory.")
    think: bool | Literal["low", "medium", "high"] | None = Field(
        default=None, description="Ollama: whether the model thinks first; thinking counts against the tokens."
    )
    context_tokens: int | None = Field(default=None, ge=512, description="The model's context, where it is not told.")
    first_token_seconds: float | None = Field(default=None, gt=0, description="Longest wait for the first token.")
    concurrency: int | None = Field(default=None, ge=1, description="Calls at a time, per process.")
    price_in: float | None = Field(default=None, ge=0, description="Price of a million tokens of the prompt.")
    price_out: float | None = Field(default=None, ge=0, description="Price of a million tokens of the answer.")
    sampling: bool | None = Field(
        default=None, description="Whether temperature and seed are sent; some models refuse them."
    )
    strict: bool | None = Field(default=None, description="Whether schemas are sent in the strict form.")
    schema_output: bool = Field(
        default=True, description="Whether the server holds the model to a schema; else it is put into the prompt."
    )
    api_version: str | None = Field(default=None, description="Azure OpenAI: the version of its interface.")
    organization: str | None = Field(default=None, description="OpenAI: the organization to bill.")
    headers: dict[str, str] = Field(default={}, description="Further HTTP headers.")


class Profile(BaseModel):
    """One connection, read."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    connection: str
    provider: Provider
    url: str
    key: str = Field(default="", repr=False)
    extra: Extra = Extra()

    @property
    def place(self) -> Place:
        """How errors call it."""
        return Place(self.connection, self.provider, self.url, (self.key, *self.extra.headers.values()))

    @property
    def is_official(self) -> bool:
        """Whether it is the provider itself, and no other server that speaks its protocol."""
        return any(name in self.url for name in ("api.openai.com", "openai.azure.com", "api.anthropic.com"))


def profile_of(connection: Connection) -> Profile:
    """Return what a connection says; ModelRefused, with what would be right, where it says nothing that can be used."""
    try:
        extra = Extra.model_validate(dict(connection.extra))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        raise ModelRefused(
            f"connection {connection.id!r}: the key {'.'.join(map(str, wrong['loc']))!r} of its extra is not right: "
            f"{wrong['msg'].lower()}"
        ) from None
    kind = connection.type.lower().replace("-", "_")
    provider: Provider
    if extra.provider is not None:
        provider = extra.provider
    elif kind == "ollama":
        provider = "ollama"
    elif kind in ("openai", "azure_openai"):
        provider = "openai"
    elif kind == "anthropic":
        provider = "anthropic"
    elif kind.startswith(("pydanticai", "pydantic_ai")):
        provider = "pydantic_ai"
    elif kind == "scripted":
        provider = "scripted"
    else:
        raise ModelRefused(
            f"connection {connection.id!r} is of type {connection.type!r}, which is no model server; use ollama, "
            'openai or anthropic, or name the protocol in its extra: {"provider": "openai"}'
        )
    return Profile(
        connection=connection.id,
        provider=provider,
        url=_url(connection, extra, provider),
        key=connection.password,
        extra=extra,
    )


def local_profile() -> Profile:
    """Return the profile of Ollama on this machine."""
    return Profile(connection=LOCAL, provider="ollama", url=_ADDRESSES["ollama"])


def _url(connection: Connection, extra: Extra, provider: Provider) -> str:
    if extra.base_url:
        return extra.base_url.rstrip("/")
    host = connection.host.strip().rstrip("/")
    if not host:
        return _ADDRESSES.get(provider, provider)
    if "://" in host:
        scheme, _, rest = host.partition("://")
    else:
        scheme, rest = ("http" if provider == "ollama" else "https"), host
        scheme = connection.schema if connection.schema in ("http", "https") else scheme
    name, slash, path = rest.partition("/")
    if connection.port and ":" not in name.rsplit("]", 1)[-1]:
        name = f"{name}:{connection.port}"
    return f"{scheme}://{name}{slash}{path}"
