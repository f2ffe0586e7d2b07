"""The page in a real browser, on a real Airflow: what people do with it, by keyboard, role and name.

Pictures of it go to .artefacts/screenshots, or to the folder that DATAFORGE_SCREENSHOTS names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.airflow.conftest import Airflow
from tests.web.test_web_hostile_texts import CORPUS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(600)]
PICTURES = Path(os.environ.get("DATAFORGE_SCREENSHOTS", Path(__file__).parents[2] / ".artefacts" / "screenshots"))
WISH = "Bring numbers.csv to the duckdb table clean, and squash the n column into whole units"
ROOT = "/plugin/pipelines"
DESK: Any = {"width": 1280, "height": 900}
PHONE: Any = {"width": 375, "height": 812}
PATIENCE = 60_000
"""Milliseconds; what is waited for comes within two seconds on a machine that is not busy."""
SLOW = 300_000
"""Milliseconds for a real model on one core."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium: the page is not tested in a browser (apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@dataclass
class People:
    """Browsers of several people at one Airflow. `foreign` and `dialogs` are what no page of ours may cause."""

    browser: Browser
    airflow: Airflow
    foreign: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def page(self, name: str = "", *, dark: bool = False) -> Page:
        """Open a browser of somebody's own; with a name, logged in."""
        base = self.airflow.api.base
        context = self.browser.new_context(
            viewport=DESK, base_url=base, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE)
        context.add_init_script(f"localStorage.setItem('theme', '{'dark' if dark else 'light'}')")
        if name:
            given = context.request.post("/auth/token", data={"username": name, "password": name})
            token = given.json()["access_token"]
            context.add_cookies([{"name": "_token", "value": token, "url": base}])
        page = context.new_page()
        page.on("dialog", self._asked)
        page.on("pageerror", lambda one: self.errors.append(str(one)))
        page.on("request", lambda one: self._went(one.url))
        return page

    def _asked(self, one: Dialog) -> None:
        self.dialogs.append(one.message)
        one.dismiss()

    def _went(self, url: str) -> None:
        if not url.startswith((self.airflow.api.base, "data:", "blob:")):
            self.foreign.append(url)


@pytest.fixture
def people(browser: Browser, airflow: Airflow) -> Iterator[People]:
    """Nobody yet; in the end none of their pages asked another server, opened a dialog, or broke."""
    found = People(browser, airflow)
    yield found
    for context in browser.contexts:
        context.close()
    assert (found.foreign, found.dialogs, found.errors) == ([], [], [])


def picture(page: Page, name: str) -> None:
    """Keep what is to be seen."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def loaded(page: Page) -> None:
    """Wait until a page of ours has what it shows."""
    from playwright.sync_api import expect

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("Loading…")).to_have_count(0)


def write(page: Page, text: str) -> None:
    """Put a text into the editor in place of what stands there, as a person pastes it."""
    editor = page.get_by_role("textbox", name="Config as JSON")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_a_wish_becomes_a_draft_a_dag_rows_and_is_taken_back(people: People, airflow: Airflow) -> None:
    from playwright.sync_api import expect

    page = people.page()
    page.goto("/")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill("admin")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Pipelines").click()
    expect(page.get_by_role("heading", name="Pipelines", level=1)).to_be_visible()

    page.goto(f"{ROOT}/new")
    page.get_by_label("What should the pipeline do?").fill(WISH)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("The model's words")).to_contain_text('"transforms"')
    picture(page, "streaming")
    draft, findings = page.get_by_role("region", name="Draft"), page.get_by_role("region", name="Findings")
    expect(draft.get_by_text("Valid", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Transform 1: derive")).to_be_visible()
    picture(page, "draft")

    page.get_by_role("tab", name="Config").click()
    expect(page.get_by_role("textbox", name="Config as JSON")).to_contain_text("derive")
    good = json.loads(page.get_by_role("textbox", name="Config as JSON").inner_text())
    broken = json.dumps(good, indent=2).replace('"replace"', '"replac"')
    write(page, broken)
    expect(draft.get_by_text("Invalid", exact=True)).to_be_visible()
    place = broken[: broken.index('"replac"')].count("\n") + 1
    expect(findings).to_contain_text(f"line {place}")
    expect(page.locator(".cm-line", has_text='"replac"').locator(".cm-lintRange-error")).to_be_visible()
    picture(page, "finding")
    page.get_by_role("button", name="Fix what can be fixed").click()
    change = page.get_by_role("region", name="Proposed change")
    change.get_by_role("button", name="Accept /destination/write_disposition").click()
    picture(page, "accept")
    change.get_by_role("button", name="Use the accepted").click()
    expect(draft.get_by_text("Valid", exact=True)).to_be_visible()

    page.get_by_role("tab", name="Preview").click()
    expect(page.get_by_role("cell", name="300", exact=True)).to_be_visible()
    picture(page, "preview")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_label("Why").fill("the first")
    page.get_by_role("button", name="Deploy now").click()
    expect(page.get_by_text("Airflow has read clean.")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_text("3 rows read, 3 written")).to_be_visible()
    picture(page, "run")
    assert sorted(airflow.rows("clean")) == [(100, "one"), (200, "two"), (300, "three")]
    page.get_by_role("link", name="Open the DAG").click()
    expect(page.get_by_role("heading", name="clean").or_(page.get_by_text("clean", exact=True)).first).to_be_visible()
    expect(page.get_by_role("link", name="Pipeline", exact=True)).to_be_visible()

    first = (airflow.configs / "clean.json").read_bytes()
    second = people.page("otto")
    second.goto(f"{ROOT}/edit/clean.json")
    second.get_by_role("tab", name="Config").click()
    expect(second.get_by_role("textbox", name="Config as JSON")).to_contain_text("derive")
    write(second, first.decode().replace("* 100", "* 7"))
    second.get_by_role("button", name="Deploy", exact=True).click()
    second.get_by_role("button", name="Deploy now").click()
    expect(second.get_by_text("Airflow has read clean.")).to_be_visible()
    assert (airflow.configs / "clean.json").read_bytes() != first

    page.goto(f"{ROOT}/clean")
    page.get_by_role("tab", name="Revisions").click()
    page.get_by_role("button", name="Go back to revision").last.click()
    dialog = page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))
    expect(dialog).to_contain_text("n * 100")
    picture(page, "rollback")
    dialog.get_by_role("button", name="Go back").click()
    expect(page.get_by_text("is in force again")).to_be_visible()
    assert (airflow.configs / "clean.json").read_bytes() == first


def test_a_pipeline_is_changed_by_words(
    people: People, airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    from playwright.sync_api import expect

    airflow.put("spoken.json", numbers("spoken"))
    airflow.until("the DAG", lambda: airflow.dag("spoken"))
    page = people.page("otto")
    page.goto(f"{ROOT}/edit/spoken.json")
    page.get_by_label("What should be different?").fill("Run it daily at 6")
    page.keyboard.press("Control+Enter")
    change = page.get_by_role("region", name="Proposed change")
    change.get_by_role("button", name="Accept /schedule").click()
    picture(page, "refined")
    change.get_by_role("button", name="Use the accepted").click()
    expect(page.get_by_role("log", name="What was said")).to_contain_text("Run it daily at 6")
    expect(page.get_by_role("region", name="Draft").get_by_text("Valid", exact=True)).to_be_visible()
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("button", name="Deploy now").click()
    expect(page.get_by_text("Airflow has read spoken.")).to_be_visible()
    assert json.loads((airflow.configs / "spoken.json").read_text()) == numbers("spoken", schedule="0 6 * * *")


def test_a_real_small_model_makes_a_draft_or_asks_back(people: People, airflow: Airflow) -> None:
    from playwright.sync_api import expect

    if not airflow.small_model:
        pytest.skip("the small language model is not here: no real model was asked on the page (run scripts/model)")
    page = people.page("admin")
    page.goto(f"{ROOT}/new")
    page.get_by_label("Model", exact=True).select_option(airflow.small_model)
    page.get_by_label("What should the pipeline do?").fill(WISH)
    page.keyboard.press("Control+Enter")
    words = page.get_by_label("The model's words")
    expect(words).to_have_text(re.compile(r"\{"), timeout=SLOW)
    picture(page, "small-model")
    expect(page.get_by_role("log", name="What was said")).to_contain_text("What left the machine", timeout=SLOW)
    newest = airflow.api.get("/dataforge/api/v1/jobs")["jobs"][0]
    result = airflow.api.get(f"/dataforge/api/v1/jobs/{newest['id']}")["result"]
    calls = [one for one in result["sent"] if one["model"].endswith(airflow.small_model.partition("/")[2])]
    assert calls, result["sent"]
    assert sum(one["completion_tokens"] for one in calls) > 0
    if not result["text"]:
        assert result["questions"], result
        return
    assert json.loads(result["text"])["dag_id"]
    draft = page.get_by_role("region", name="Draft")
    state = "Valid" if result["status"] == "valid" else "Invalid"
    expect(draft.get_by_text(state, exact=True)).to_be_visible()
    assert state == "Valid" or result["findings"] or result["questions"], result


def test_a_viewer_sees_everything_and_can_change_nothing(
    people: People, airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    from playwright.sync_api import expect

    airflow.put("looked_at.json", numbers("looked_at"))
    airflow.until("the DAG", lambda: airflow.dag("looked_at"))
    before = {path.name: path.read_bytes() for path in airflow.configs.iterdir() if path.is_file()}
    page = people.page("vera")
    written: list[str] = []
    page.on("request", lambda one: written.append(f"{one.method} {one.url}") if one.method != "GET" else None)
    page.goto(ROOT)
    expect(page.get_by_role("link", name="looked_at").first).to_be_visible()
    for name in ("Run looked_at now", "Edit looked_at", "New pipeline"):
        for one in page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).all():
            expect(one).to_be_disabled()
    for path in (f"{ROOT}/looked_at", f"{ROOT}/edit/looked_at.json", f"{ROOT}/new"):
        page.goto(path)
        loaded(page)
        for name in ("Run now", "Pause", "Deploy", "Send", "Start empty", "Go back"):
            for one in page.get_by_role("button", name=name, exact=True).all():
                expect(one).to_be_disabled()
    page.goto(f"{ROOT}/edit/looked_at.json")
    page.get_by_role("tab", name="Config").click()
    expect(page.get_by_role("textbox", name="Config as JSON")).to_contain_text("numbers.csv")
    write(page, "{}")
    expect(page.get_by_role("textbox", name="Config as JSON")).to_contain_text("numbers.csv")
    picture(page, "viewer")
    assert not [one for one in written if "/dataforge/" in one and "/explain" not in one], written
    assert {path.name: path.read_bytes() for path in airflow.configs.iterdir() if path.is_file()} == before


def test_the_second_of_two_editors_is_told_what_the_first_one_changed(
    people: People, airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    from playwright.sync_api import expect

    airflow.put("shared.json", numbers("shared", description="theirs"))
    airflow.until("the DAG", lambda: airflow.dag("shared"))
    pages = [people.page("admin"), people.page("otto")]
    for page in pages:
        page.goto(f"{ROOT}/edit/shared.json")
        page.get_by_role("tab", name="Config").click()
        expect(page.get_by_role("textbox", name="Config as JSON")).to_contain_text("theirs")
    for page, words in zip(pages, ("the first", "the second"), strict=True):
        write(page, json.dumps(numbers("shared", description=words), indent=2))
        page.get_by_role("button", name="Deploy", exact=True).click()
        page.get_by_role("button", name="Deploy now").click()
        if page is pages[0]:
            expect(page.get_by_text("shared.json is in force.")).to_be_visible()
    told = pages[1].get_by_role("alert").filter(has_text="Somebody else has changed this pipeline")
    expect(told).to_contain_text("the first")
    picture(pages[1], "conflict")
    assert "the first" in (airflow.configs / "shared.json").read_text()
    told.get_by_role("button", name="Keep mine, on top of theirs").click()
    pages[1].get_by_role("button", name="Deploy now").click()
    expect(pages[1].get_by_text("shared.json is in force.")).to_be_visible()
    assert "the second" in (airflow.configs / "shared.json").read_text()


LOOKED_AT = {"list": ROOT, "new": f"{ROOT}/new", "edit": f"{ROOT}/edit/accessible.json",
             "pipeline": f"{ROOT}/accessible", "settings": f"{ROOT}/settings",
             "tab": "/dags/accessible/plugin/pipeline"}  # fmt: skip


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_page_is_accessible_and_fits_a_phone_in_the_light_and_in_the_dark(
    people: People, airflow: Airflow, numbers: Callable[..., dict[str, Any]], look: str
) -> None:
    airflow.put("accessible.json", numbers("accessible", description="Every number, once a day", schedule="@daily"))
    airflow.until("the DAG", lambda: airflow.dag("accessible"))
    page = people.page("admin", dark=look == "dark")
    wrong = []
    for name, path in LOOKED_AT.items():
        page.set_viewport_size(DESK)
        page.goto(path)
        loaded(page)
        picture(page, f"{name}-{look}")
        wrong += [f"{name}: {each}" for each in barriers(page)]
        page.set_viewport_size(PHONE)
        picture(page, f"{name}-{look}-phone")
        wrong += [f"{name} on a phone: {each}" for each in barriers(page)] if look == "light" else []
        wide = page.evaluate("document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth")
        wrong += [f"{name}: {wide} pixels too wide for a phone"] if wide > 1 else []
    assert not wrong, "\n".join(wrong)


def barriers(page: Page) -> list[str]:
    """Return what axe finds in our part of a page that keeps people out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context="main", options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


TAKEN_IN = "document.querySelectorAll('main script, main iframe, main img[src=x], main svg[onload]').length"
"""How many elements came out of hostile texts."""


def test_texts_that_would_run_are_shown_as_texts(people: People, airflow: Airflow) -> None:
    rows = "\n".join(["id,text", *(f'{at},"{text.replace(chr(34), chr(34) * 2)}"' for at, text in enumerate(CORPUS))])
    (airflow.configs / "hostile.csv").write_text(rows, encoding="utf-8")
    safe = [text for text in CORPUS if "${" not in text and text.isprintable()]
    config = {
        "dag_id": "hostile", "description": " ".join(safe), "owner": CORPUS[0], "tags": safe[:5],
        "source": {"type": "csv", "path": "hostile.csv"}, "destination": {"type": "duckdb", "table": "hostile"},
    }  # fmt: skip
    airflow.put("hostile.json", config)
    broken = airflow.put("hostile_too.json", config | {"dag_id": CORPUS[1], CORPUS[2]: CORPUS[3]})
    airflow.until("the DAG", lambda: airflow.dag("hostile"))
    page = people.page("admin")
    page.goto(ROOT)
    page.get_by_text(CORPUS[0]).first.wait_for()
    page.goto(f"{ROOT}/hostile")
    page.get_by_text(CORPUS[0]).first.wait_for()
    page.goto(f"{ROOT}/edit/hostile.json")
    page.get_by_role("tab", name="Preview").click()
    page.get_by_role("cell", name=CORPUS[0]).first.wait_for()
    page.goto(f"{ROOT}/edit/hostile_too.json")
    page.get_by_role("region", name="Findings").get_by_text("onload").first.wait_for()
    assert page.evaluate(TAKEN_IN) == 0
    broken.unlink()  # the other tests of this Airflow look for import errors


def test_what_is_said_and_what_logs_hold_is_shown_as_text(
    people: People, airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    from playwright.sync_api import expect

    (airflow.configs / "hostile_log.csv").write_text(f'n,text\n1,"{CORPUS[1]} {CORPUS[2]}"\n', encoding="utf-8")
    source = {"type": "csv", "path": "hostile_log.csv", "columns": {"text": "integer"}}
    airflow.put("hostile_log.json", numbers("hostile_log", source=source))
    airflow.until("the DAG", lambda: airflow.dag("hostile_log"))
    here = "/api/v2/dags/hostile_log/dagRuns"
    run = airflow.api.post(here, {"logical_date": None, "conf": {}})["dag_run_id"]
    airflow.until("the failure", lambda: airflow.api.get(f"{here}/{run}")["state"] == "failed")

    page = people.page("admin")
    page.goto(f"{ROOT}/hostile_log?tab=runs")
    page.get_by_role("button", name=f"Fix this run: {run}").click()
    fix = page.get_by_role("region", name=f"Fix {run}")
    expect(fix.get_by_text("What happened")).to_be_visible()
    fix.get_by_text("The part of the log that was read").click()
    expect(fix).to_contain_text(CORPUS[1])
    picture(page, "hostile-log")
    assert page.evaluate(TAKEN_IN) == 0

    page.goto(f"{ROOT}/new")
    page.get_by_text("Ask", exact=True).click()
    page.get_by_label("What should the pipeline do?").fill("What do these mean: " + "\n".join(CORPUS[:5]))
    page.keyboard.press("Control+Enter")
    thread = page.get_by_role("log", name="What was said")
    expect(thread).to_contain_text(CORPUS[0])
    expect(thread).to_contain_text(CORPUS[12])  # the model says it, and nobody else
    thread.get_by_text("What left the machine").click()
    picture(page, "hostile-chat")
    assert page.evaluate(TAKEN_IN) == 0
    page.goto(ROOT)
    loaded(page)
    page.goto(f"{ROOT}/new")
    page.get_by_text("Earlier conversations").click()
    page.get_by_text(CORPUS[0]).first.wait_for()
    assert page.evaluate(TAKEN_IN) == 0
