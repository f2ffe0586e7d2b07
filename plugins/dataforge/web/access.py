"""Who asks, and what Airflow's auth manager lets them do; nothing here decides by itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from fastapi import Depends, Request

from dataforge.web.problems import Refused

Method = Literal["GET", "PUT"]
"""What a request needs on a DAG: to read it, or to edit it."""
Part = Literal["RUN", "TASK_INSTANCE", "TASK_LOGS", "XCOM"]
"""What of a DAG Airflow has rights of its own for."""
SAFE = ("GET", "HEAD", "OPTIONS")
HEADER = "X-DataForge-Request"
"""A request by cookie that changes something has this header: no form and no other site's page can send it."""
TRUSTED_SECONDS = 5.0
"""For how long reads go by what a token and its person's rights were; what changes something always asks anew."""
_ALL = "*"
"""No DAG has this id, so that rights on it are rights on DAGs whatever they are."""


@dataclass(frozen=True)
class Person:
    """A user of Airflow, as the auth manager knows them; each of their rights is asked for once."""

    name: str
    user: Any = field(repr=False)
    _rights: dict[tuple[str, str | None, str | None], bool] = field(default_factory=dict, repr=False, compare=False)

    def allowed(self, method: Method, dag_ids: Iterable[str]) -> set[str]:
        """Return those of the DAGs on which this is allowed."""
        return {dag_id for dag_id in set(dag_ids) if self.may(method, dag_id)}

    def may(self, method: Method | Literal["POST"], dag_id: str | None, part: Part | None = None) -> bool:
        """Return whether this is allowed on a DAG, or on a part of it; None: on DAGs whatever they are."""
        key = (method, dag_id, part)
        if (known := self._rights.get(key)) is None:
            known = self._rights[key] = self._asked(method, dag_id, part)
        return known

    def _asked(self, method: Method | Literal["POST"], dag_id: str | None, part: Part | None) -> bool:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

        # without details, FAB answers whether there is any DAG that they may read: ask for one that nobody was given
        details = DagDetails(id=dag_id or _ALL, team_name=_team(dag_id))
        entity = DagAccessEntity[part] if part else None
        manager = get_auth_manager()
        return bool(manager.is_authorized_dag(method=method, user=self.user, access_entity=entity, details=details))

    @cached_property
    def edits(self) -> bool:
        """Whether there is any DAG that they may edit."""
        return self._any("PUT")

    @cached_property
    def administers(self) -> bool:
        """Whether they may edit Airflow's connections, as those do who run the deployment."""
        from airflow.api_fastapi.app import get_auth_manager

        return bool(get_auth_manager().is_authorized_connection(method="PUT", user=self.user))

    @cached_property
    def reads(self) -> bool:
        """Whether there is any DAG that they may read."""
        return self._any("GET")

    @property
    def known_to_read(self) -> bool:
        """Whether it was found before that there is a DAG that they may read."""
        return bool(vars(self).get("reads"))

    def _any(self, method: Method) -> bool:
        from airflow.api_fastapi.app import get_auth_manager

        manager = get_auth_manager()
        if manager.is_authorized_dag(method=method, user=self.user):
            return True
        return bool(manager.get_authorized_dag_ids(user=self.user, method=method))


async def who(request: Request) -> Person:
    """Return who asks, by Bearer token or cookie, as every route of Airflow does; Refused for nobody.

    For each token Airflow looks into its database, in the event loop, where all others wait for it too; so whoever only
    reads is known for some seconds, and their rights with them. Cookies are looked at by Airflow before they come here.
    """
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from airflow.api_fastapi.core_api.security import bearer_scheme, get_user

    given = await bearer_scheme(request)
    reads = request.method in SAFE
    token = given.credentials if given else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")
    known = _trusted(token) if reads else None
    if known is not None and given is not None:
        return known
    user = await get_user(request, None, given)
    name = str(user.get_name())
    if known is not None and known.name == name:
        return known
    found = Person(name, user)
    if reads:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[token] = (time.monotonic() + TRUSTED_SECONDS, found)
    return found


_known: dict[str, tuple[float, Person]] = {}
_MOST_KNOWN = 1_000


def _trusted(token: str) -> Person | None:
    until, found = _known.get(token, (0.0, None))
    return found if time.monotonic() < until else None


def check_origin(request: Request) -> None:
    """Refuse what another site's page makes a browser send; Refused (403) says which rule was broken."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site") == "cross-site" and (origin is None or origin not in _allowed_origins()):
        raise Refused(403, "foreign-origin", "the request comes from a page of another site")
    if origin is not None and urlsplit(origin).netloc.lower() not in _own_hosts(request):
        if origin not in _allowed_origins():
            raise Refused(403, "foreign-origin", "the request comes from a page of another site")
        return
    by_token = request.headers.get("authorization", "").lower().startswith("bearer ")
    if origin is None and not by_token and HEADER.lower() not in request.headers:
        raise Refused(403, "header-missing", f"a request by cookie that changes something needs the header {HEADER}: 1")


async def person(request: Request) -> Person:
    """Return who asks; the door knows. Not a plain function: for one, each request would take a thread more."""
    return cast("Person", request.state.dataforge_person)


Asker = Annotated[Person, Depends(person)]


def _own_hosts(request: Request) -> set[str]:
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="") or ""
    return {request.headers.get("host", "").lower(), urlsplit(base).netloc.lower()} - {""}


def _allowed_origins() -> list[str]:
    """Return the other sites that Airflow itself lets in."""
    from airflow.configuration import conf

    return [one for one in (conf.get("api", "access_control_allow_origins", fallback="") or "").split() if one != "*"]


def _team(dag_id: str | None) -> str | None:
    if dag_id is None or not _has_teams():
        return None
    from airflow.models.dag import DagModel

    return DagModel.get_team_name(dag_id)


@cache
def _has_teams() -> bool:
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))
