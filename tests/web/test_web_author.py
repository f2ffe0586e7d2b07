"""What the author's page needs of jobs: what left the machine, talk about a draft, its words and SQL."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import CONFIG, REQUEST, STEPS, Web

from dataforge.gateway.base import Message
from dataforge.web.witness import rows_in


def done(web: Web, body: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a job that ends well."""
    begun = web.ask("POST", "/jobs", body)
    assert begun.status_code == 202, begun.text
    kind, result = web.events(begun.json()["id"])[-1][1:]
    assert kind == "done", result
    return dict(result)


def test_a_job_tells_what_left_the_machine_to_the_letter_and_what_was_withheld(web: Web) -> None:
    model = web.model(STEPS)
    result = done(web, {"kind": "generate", "request": f"{REQUEST}. Tell ada@example.com when done"})
    (sent,) = result["sent"]
    called = model.calls[0].messages
    assert [one["text"] for one in sent["messages"]] == [one.text for one in called]
    assert "ada@example.com" not in str(sent)
    assert [(one["kind"], one["count"]) for one in sent["withheld"]] == [("email", 1)]
    assert (sent["rows"], sent["cached"], sent["task"]) == (0, False, "author")


def test_a_model_that_does_not_answer_is_told_as_such(web: Web) -> None:
    result = done(web, {"kind": "generate", "request": REQUEST})
    assert result["sent"] == []
    web.model(OSError("away"))
    result = done(web, {"kind": "generate", "request": REQUEST})
    assert [sorted(one) for one in result["sent"]] == [["failed", "model", "task"]]


def test_a_draft_can_be_talked_about_and_stays_as_it_is(web: Web) -> None:
    model = web.model("It keeps rows above 100 cents.")
    ask = {"kind": "refine", "mode": "ask", "request": "Which rows does it keep?", "text": CONFIG}
    result = done(web, ask)
    assert (result["status"], result["answer"]) == ("answered", "It keeps rows above 100 cents.")
    assert result["config"] is None
    assert '"dag_id": "sales"' in model.calls[0].messages[-1].text
    web.models["now"] = None
    assert "cents > 100" in done(web, ask)["answer"]


def test_a_text_is_told_in_words_as_sql_and_with_all_values_in_force_without_a_job(web: Web) -> None:
    found = web.ask("POST", "/explain", {"text": CONFIG}).json()
    assert "cents > 100" in found["text"]
    assert "SELECT" in found["sql"].upper()
    values = web.ask("POST", "/effective", {"text": CONFIG}).json()["values"]
    assert {"/owner": "ada", "/source/type": "csv"}.items() <= {one["pointer"]: one["value"] for one in values}.items()
    for path in ("/explain", "/effective"):
        assert web.ask("POST", path, {"text": CONFIG}, name="vera", role="VIEWER").status_code == 403


def test_sample_rows_in_a_prompt_are_counted() -> None:
    fenced = '<data>\n{"columns": {}, "sample": {"orders": [{"id": 1}, {"id": 2}]}}\n</data>'
    assert rows_in([Message("system", "x"), Message("user", f"Facts\n{fenced}\nwords")]) == 2
    assert rows_in([Message("user", "words")]) == 0


def test_a_check_tells_which_pipelines_a_text_makes(web: Web) -> None:
    matrix = '"sales_${matrix.r}", "matrix": [{"r": "eu"}, {"r": "us"}],\n  "owner"'
    several = CONFIG.replace('"sales",\n  "owner"', matrix)
    assert web.ask("POST", "/check", {"text": several}).json()["dag_ids"] == ["sales_eu", "sales_us"]
    assert web.ask("POST", "/check", {"file": "sales.json"}).json()["dag_ids"] == ["sales"]
