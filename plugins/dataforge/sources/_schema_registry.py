"""A schema registry (Confluent's API, which Apicurio, Karapace and Redpanda speak too): schemas by their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dataforge.components import retry
from dataforge.components.base import Connection, JsonValue
from dataforge.errors import DataForgeError, TerminalError
from dataforge.sources._http_session import open_session

_TIMEOUT = (10, 30)
_POLICY = retry.Policy(attempts=3, first=0.5)
MAX_REFERENCES = 200


class Registry:
    """The registry of a connection of type http; each schema is asked for once."""

    def __init__(self, connection: Connection) -> None:
        from requests.adapters import HTTPAdapter

        self.connection = connection
        try:
            self._session, base = open_session(connection, HTTPAdapter())
        except ValueError as error:
            raise TerminalError(f"connection {connection.id!r} names no schema registry: {error}") from None
        self._base = base.rstrip("/")

    def schema(self, number: int, *, serialized: bool = False) -> Mapping[str, JsonValue]:
        """Return what the registry says of the schema with that number: `schema`, `schemaType`, `references`.

        TerminalError when there is none.
        """
        return self._get(f"/schemas/ids/{number}" + ("?format=serialized" if serialized else ""))

    def references(
        self, said: Mapping[str, JsonValue], *, serialized: bool = False
    ) -> list[tuple[str, Mapping[str, JsonValue]]]:
        """Return the schemas that a schema refers to as (name, what the registry says), those without any first."""
        found: dict[str, Mapping[str, JsonValue]] = {}
        self._collect(said, found, serialized)
        return list(found.items())

    def _collect(
        self, said: Mapping[str, JsonValue], found: dict[str, Mapping[str, JsonValue]], serialized: bool
    ) -> None:
        for one in said.get("references") or ():
            if one["name"] in found:
                continue
            if len(found) >= MAX_REFERENCES:
                raise TerminalError(f"a schema refers to more than {MAX_REFERENCES} others")
            address = f"/subjects/{quote(one['subject'], safe='')}/versions/{int(one['version'])}"
            other = self._get(address + ("?format=serialized" if serialized else ""))
            self._collect(other, found, serialized)
            found[one["name"]] = other

    def _get(self, address: str) -> Mapping[str, JsonValue]:
        return retry.repeat(lambda: self._ask(address), _POLICY, what=f"connection {self.connection.id}")

    def _ask(self, address: str) -> Mapping[str, JsonValue]:
        import requests

        where = f"connection {self.connection.id!r}: the schema registry"
        try:
            answer = self._session.get(self._base + address, timeout=_TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            raise retry.error_for(
                "away", f"{where} can't be reached ({type(error).__name__})", self.connection.id
            ) from None
        if answer.status_code != 200:
            raise self._refused(where, address, answer.status_code)
        try:
            said: Any = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("schema"), str):
            raise TerminalError(f"{where} answered {address} with no schema; is it one?")
        return said

    def _refused(self, where: str, address: str, status: int) -> DataForgeError:
        cause = {401: "the login is refused", 403: "the login may not read it", 404: "there is no such schema"}
        message = f"{where} answered {address} with status {status}" + (f": {cause[status]}" if status in cause else "")
        return retry.error_for(retry.of_status(status), message, self.connection.id)
