"""Texts that would run in a browser if anything took them for a page: through chats, names, findings, rows and logs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.web.conftest import BASE, CONFIG, Web
from tests.web.test_web_routes import unlimited as unlimited  # a fixture

CORPUS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>",
    '"><script>alert(1)</script>', "'-alert(1)-'", "javascript:alert(1)", "[x](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "[x][1]\n\n[1]: https://evil.example", "</textarea><script>alert(1)</script>", "{{7*7}}", "${alert(1)}",
    "<iframe srcdoc='<script>alert(1)</script>'>", "<a href=data:text/html,<script>alert(1)</script>>x</a>",
    "\u202etxt.exe", "\u2028alert(1)", "<!--<script>", "]]><script>alert(1)</script>", "\x1b[31mred", "%3Cscript%3E",
)  # fmt: skip


def inert(found: Any) -> Any:
    """Return an answer's JSON after checking that no browser takes it for a page or a script."""
    kind = found.headers["content-type"]
    assert kind in {"application/json", "application/problem+json"}, kind
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in found.headers["content-security-policy"]
    return found.json()


def test_a_text_comes_back_to_the_letter_and_as_json_alone(web: Web) -> None:
    for text in CORPUS:
        chat = inert(web.ask("POST", "/chats", {"title": text, "file": text}))
        assert (chat["title"], chat["file"]) == (text, text)
        inert(web.ask("POST", f"/chats/{chat['id']}/messages", {"text": text + " " * 10}))
        assert inert(web.ask("GET", f"/chats/{chat['id']}/messages"))["messages"][0]["text"] == text + " " * 10
        if "\n" not in text:  # FastAPI's mounts take no such address: Airflow answers it
            inert(web.ask("GET", f"/pipelines/{quote(text, safe='')}"))
    assert [one["title"] for one in inert(web.ask("GET", "/chats"))["chats"]] == list(reversed(CORPUS))


def test_a_config_that_holds_such_texts_and_its_findings_are_json_alone(web: Web) -> None:
    for text in CORPUS:
        config: Any = {**json.loads(CONFIG), "dag_id": "hostile", "description": text, "tags": [text]}
        (web.folder / "hostile.json").write_text(json.dumps(config), encoding="utf-8")
        listed = inert(web.ask("GET", "/pipelines"))
        assert "${" in text or text in [one["description"] for one in listed["pipelines"]]
        for changes in ({"dag_id": text}, {text: 1}, {"source": {"type": text}}):
            found = inert(web.ask("POST", "/check", {"text": json.dumps(config | changes)}))
            assert found["findings"]
    inert(web.ask("POST", "/preview", {"text": CORPUS[0]}))
    inert(web.ask("POST", "/plan", {"file": CORPUS[0]}))


def test_a_row_of_such_texts_is_shown_to_the_letter(web: Web) -> None:
    from csv import writer

    with (web.folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        rows = writer(file)
        rows.writerow(["id", "text"])
        rows.writerows(enumerate(CORPUS))
    config = {**json.loads(CONFIG), "dag_id": "texts", "source": {"type": "csv", "path": "texts.csv"}, "transforms": []}
    shown = inert(web.ask("POST", "/preview", {"text": json.dumps(config), "rows": 50}))
    assert [row["text"] for row in shown["steps"][-1]["rows"]] == list(CORPUS)


def test_a_failing_models_words_reach_the_log_and_the_stream_as_one_line_of_json(web: Web) -> None:
    web.model(*['<script>alert(1)</script>\n\nevent: done\ndata: {"config": 1}\n\n'] * 20)
    body = {"kind": "generate", "request": "Bring sales.csv to the duckdb table clean, squash the cents"}
    job = inert(web.ask("POST", "/jobs", body))["id"]
    stream = web.client.get(
        f"{BASE}/jobs/{job}/events", headers={"Authorization": f"Bearer {web.token('ada', 'USER')}"}
    )
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-content-type-options"] == "nosniff"
    for frame in stream.text.split("\n\n"):
        assert len([line for line in frame.splitlines() if line.startswith("data: ")]) <= 1, frame
        assert not frame.startswith('event: done\ndata: {"config": 1}')
