"""What the Kafka source and destination share: client properties from an Airflow connection, and errors as ours.

A connection of type kafka (the form of Airflow's Kafka provider) holds librdkafka's properties in its extra. Only those
listed here reach the client: others could load libraries, start programs or fetch tokens from any URL.
"""

from __future__ import annotations

from typing import Any

from dataforge.components.base import Connection
from dataforge.components.retry import Verdict, error_for
from dataforge.errors import DataForgeError, TerminalError

ALLOWED = frozenset(
    (
        "bootstrap.servers",
        "broker.address.family",
        "client.dns.lookup",
        "client.id",
        "client.rack",
        "enable.ssl.certificate.verification",
        "message.max.bytes",
        "receive.message.max.bytes",
        "request.timeout.ms",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.password",
        "sasl.username",
        "security.protocol",
        "socket.keepalive.enable",
        "socket.timeout.ms",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.certificate.pem",
        "ssl.cipher.suites",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.key.pem",
    )
)
"""Properties of a connection's extra that reach the client."""

OURS = frozenset(
    (
        "acks",
        "auto.offset.reset",
        "batch.size",
        "compression.type",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "isolation.level",
        "linger.ms",
        "session.timeout.ms",
    )
)
"""Properties that other operators use and that we set ourselves; they are left out without a word."""

SECONDS = 15.0
"""Longest wait for one answer of a cluster."""

_SECRETS = ("sasl.password", "ssl.key.password", "ssl.key.pem")
_SASL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def client_settings(connection: Connection) -> dict[str, Any]:
    """Return the client's properties; TerminalError for another type of connection or a property that is not allowed.

    They hold secrets: never log them.
    """
    if connection.type not in ("kafka", ""):
        raise TerminalError(f"connection {connection.id!r} is of type {connection.type!r}; a 'kafka' one is needed")
    settings: dict[str, Any] = {}
    for name, value in connection.extra.items():
        if name in ALLOWED:
            settings[name] = value
        elif name not in OURS:
            raise TerminalError(
                f"connection {connection.id!r}: the property {name!r} is not taken from a connection, since not every "
                f"property is safe; these are: {', '.join(sorted(ALLOWED))}"
            )
    if "bootstrap.servers" not in settings:
        if not connection.host:
            raise TerminalError(
                f'connection {connection.id!r} names no server; put {{"bootstrap.servers": "host:9092"}} into its extra'
            )
        settings["bootstrap.servers"] = f"{connection.host}:{connection.port or 9092}"
    if connection.login and "sasl.username" not in settings:
        settings |= {"sasl.username": connection.login, "sasl.password": connection.password}
        settings.setdefault("security.protocol", "SASL_SSL")
    mechanism = settings.get("sasl.mechanism", settings.get("sasl.mechanisms"))
    if "sasl.username" in settings and mechanism is None:
        settings["sasl.mechanism"] = "PLAIN"
    elif mechanism is not None and mechanism not in _SASL:
        raise TerminalError(f"connection {connection.id!r}: sasl.mechanism {mechanism!r} is none of {', '.join(_SASL)}")
    return {"client.id": "dataforge", **settings, "log_level": 2}


def explain(error: Any, connection: Connection, what: str) -> DataForgeError:
    """Return an error of the client (a KafkaException or KafkaError) as ours, without secrets."""
    cause = error.args[0] if isinstance(error, Exception) and error.args else error
    text = cause.str() if hasattr(cause, "str") else str(cause)
    for secret in (connection.password, *(str(connection.extra.get(name, "")) for name in _SECRETS)):
        text = text.replace(secret, "***") if secret else text
    name = cause.name() if hasattr(cause, "name") else type(error).__name__
    return error_for(_verdict(cause, name), f"connection {connection.id!r}: {what}: {text} ({name})", connection.id)


_AWAY = frozenset(
    (
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_TIMED_OUT",
        "_RESOLVE",
        "_TIMED_OUT_QUEUE",
        "REQUEST_TIMED_OUT",
        "BROKER_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "COORDINATOR_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
    )
)
_REFUSED = ("AUTH", "UNSUPPORTED", "INVALID", "_SSL", "UNKNOWN_TOPIC", "_UNKNOWN_TOPIC", "TOO_LARGE", "_FATAL")


def _verdict(cause: Any, name: str) -> Verdict:
    if any(mark in name for mark in _REFUSED):
        return "terminal"
    if name in _AWAY:
        return "away"
    retriable = getattr(cause, "retriable", None)
    again = (retriable is not None and retriable()) or name in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH")
    return "again" if again else "terminal"
