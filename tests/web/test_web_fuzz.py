"""The API against generated requests, of the form that it describes and of any other; by schemathesis.

DATAFORGE_FUZZ_EXAMPLES says how many for each operation, and lets chance choose: 250 are about 20,000 requests.
"""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from typing import Any

import pytest
from tests.web.conftest import CONFIG, Web
from tests.web.test_web_routes import unlimited as unlimited  # a fixture

from dataforge.web.app import PREFIX

pytest.importorskip("schemathesis", reason="schemathesis is not installed")
EXAMPLES = int(os.environ.get("DATAFORGE_FUZZ_EXAMPLES", "0"))
KNOWN = {
    "file": ["sales.json", "new.json", "broken.json"], "dag_id": ["sales", "gone"], "id": ["x"], "type": ["csv"],
    "revision": ["1", "2"], "conn_id": ["shop_db"],
}  # fmt: skip
"""Values that lead further in than made-up ones do."""
AWAY = ("no-errands", "no-model", "try-again")
"""What these tests have not: tasks that run, and a model."""
TURNED = (
    ("source",), ("source", "path"), ("transforms", 0), ("transforms", 0, "where"), ("destination", "table"),
    ("schedule",), ("default_args",), ("params",), ("checks",), ("$env",), ("include",), ("dag_id",), ("owner",),
)  # fmt: skip


@pytest.mark.timeout(36_000 if EXAMPLES else 300)
@pytest.mark.parametrize("form", ["positive", "negative"])
def test_whatever_comes_is_answered_as_described_and_never_by_a_failure(web: Web, form: str) -> None:
    import schemathesis
    from hypothesis.errors import Unsatisfiable

    from dataforge.web.openapi import document

    (web.folder / "broken.json").write_text('{"dag_id": "broken", "sorce": 1}', encoding="utf-8")
    seen: set[int] = set()
    described: Any = schemathesis.openapi.from_dict(document())
    for one in described.get_all_operations():
        operation = one.ok()
        try:
            with suppress(Unsatisfiable):  # an operation that takes nothing can't be asked wrongly
                fuzzed(web, operation, form, seen)
        except Exception as error:
            raise AssertionError(f"{operation.method.upper()} {operation.path}: {error}") from error
    assert {200, 404, 422} <= seen


def fuzzed(web: Web, operation: Any, form: str, seen: set[int]) -> None:
    """Check an operation's answers to generated requests; their status codes are added to `seen`."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from schemathesis import GenerationMode, checks

    rules = [
        checks.status_code_conformance, checks.content_type_conformance, checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]  # fmt: skip
    phases = [Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate]

    @settings(
        max_examples=EXAMPLES or 3, derandomize=not EXAMPLES, phases=phases, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(GenerationMode(form)), draw=st.data())
    def run(case: Any, draw: Any) -> None:
        if form == "positive":
            led_further(case, draw)
        found = answered(web, case)
        path = found.request.url.path
        if not path.startswith(f"{PREFIX}/") or "\n" in path:
            return  # the client took ".." by its word, or the mount did not let it through: not our app's answer
        seen.add(found.status_code)
        assert found.headers["x-content-type-options"] == "nosniff"
        if found.status_code >= 400:
            told = found.json()
            assert found.status_code < 500 or told["code"] in AWAY, found.text
            assert found.headers["content-type"] == "application/problem+json", found.text
            assert {"type", "title", "status", "code", "detail"} <= set(told)
        case.validate_response(found, checks=rules)

    run()


def led_further(case: Any, draw: Any) -> None:
    """Let a request name what is there, and its text be a config, or nearly one."""
    from hypothesis import strategies as st

    for name in set(case.path_parameters or ()) & set(KNOWN):
        case.path_parameters[name] = draw.draw(st.sampled_from(KNOWN[name]))
    if not isinstance(case.body, dict):
        return
    if "file" in case.body:
        case.body["file"] = draw.draw(st.sampled_from([*KNOWN["file"], ""]))
    if "text" in case.body and "file" in operation_fields(case):
        case.body["text"] = draw.draw(st.builds(turned, st.sampled_from(TURNED), values()))


def operation_fields(case: Any) -> set[str]:
    """The names of what an operation takes."""
    return {*(case.path_parameters or ()), *case.body}


def values() -> Any:
    """Values that a config may hold, or should not."""
    from hypothesis import strategies as st

    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("$" + "{X}")
    return st.recursive(leaves, lambda some: st.lists(some) | st.dictionaries(st.text(max_size=8), some), max_leaves=6)


def turned(place: tuple[str | int, ...], value: Any) -> str:
    """Return a config's text with another value in one place."""
    config: Any = copy.deepcopy(json.loads(CONFIG))
    inner = config
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return json.dumps(config)


def answered(web: Web, case: Any) -> Any:
    """Ask what a case says, as one who may edit all DAGs."""
    from requests import Request

    asked = case.as_transport_kwargs(base_url=f"http://airflow.example{PREFIX}")
    sent = Request(**asked).prepare()
    sent.headers["Authorization"] = f"Bearer {web.token('ada', 'USER')}"
    return web.client.request(sent.method, sent.url, headers=dict(sent.headers), content=sent.body)
