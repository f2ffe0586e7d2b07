"""Make the gateway that the settings and Airflow connections describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dataforge.components.circuit import FileStore
from dataforge.errors import ConfigError, ModelRefused, Problem
from dataforge.gateway.base import Adapter, Observer, UsageLedger
from dataforge.gateway.cache import Cache, RedisCache, SqliteCache, redis_client
from dataforge.gateway.calls import Chains, ModelGateway
from dataforge.gateway.connections import LOCAL, Lookup, Profile, local_profile, profile_of
from dataforge.gateway.embeddings import SqliteVectors
from dataforge.gateway.store import SqliteLedger
from dataforge.settings import Settings, airflow_home, get_settings


def open_gateway(
    lookup: Lookup,
    *,
    settings: Settings | None = None,
    ledger: UsageLedger | None = None,
    observer: Observer | None = None,
    private: Callable[[], Sequence[str]] = tuple,
) -> ModelGateway:
    """Return the deployment's gateway; opens nothing yet.

    `lookup` gives an Airflow connection by its id, `private` the secrets that no request may hold.
    """
    settings = settings or get_settings()

    def profile(connection: str) -> Profile:
        try:
            return profile_of(lookup(connection))
        except ConfigError:
            if connection == LOCAL:  # nothing is set up: Ollama on this machine
                return local_profile()
            raise

    return ModelGateway(
        Chains(settings, profile, LOCAL),
        adapter_for,
        settings,
        ledger or SqliteLedger(state_file()),
        cache=_cache(settings),
        vectors=SqliteVectors(state_file()),
        breakers=FileStore(airflow_home() / "dataforge" / "model_breakers.json"),
        observer=observer,
        private=private,
    )


def state_file() -> Path:
    """Return the gateway's SQLite file."""
    return airflow_home() / "dataforge" / "gateway.db"


def adapter_for(profile: Profile) -> Adapter:
    """Return the adapter of a profile; only its own client is imported."""
    if profile.provider == "ollama":
        from dataforge.gateway.ollama_ import OllamaAdapter

        return OllamaAdapter(profile)
    if profile.provider == "openai":
        from dataforge.gateway.openai_ import OpenAIAdapter

        return OpenAIAdapter(profile)
    if profile.provider == "anthropic":
        from dataforge.gateway.anthropic_ import AnthropicAdapter

        return AnthropicAdapter(profile)
    if profile.provider == "pydantic_ai":
        from dataforge.gateway.pydantic_ai_ import PydanticAIAdapter

        return PydanticAIAdapter(profile)
    raise ModelRefused(
        f"connection {profile.connection!r}: the scripted provider is for tests, which make it themselves"
    )


def _cache(settings: Settings) -> Cache | None:
    seconds = settings.llm_cache_hours * 3_600
    if not seconds:
        return None
    if not settings.llm_cache_url:
        return SqliteCache(state_file(), seconds, settings.llm_cache_mb * 1024 * 1024)
    try:
        return RedisCache(redis_client(settings.llm_cache_url), seconds)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            Problem(
                "invalid-setting",
                f"[dataforge] llm_cache_url can't be used: {error}",
                suggestion="write redis://HOST:PORT/0 and install airflow-dataforge[llm-redis]",
            )
        ) from None
