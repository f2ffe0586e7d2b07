"""The MCP server, by the SDK's own client: in memory, and over the pipes of a real process."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from dataforge.authoring.tools import Tools
from dataforge.gateway.base import End, Gateway
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.mcp.server import build
from dataforge.settings import get_settings
from dataforge.store import chats
from dataforge.store.database import open_store

mcp = pytest.importorskip("mcp")

CANARY = "c4n4ry-Pa55w0rd-77"
CONFIG = (
    '{\n  "dag_id": "sales",\n  "source": {"type": "csv", "path": "sales.csv"},\n'
    '  "destination": {"type": "duckdb", "table": "sales", "write_disposition": "replace"}\n}\n'
)
REQUEST = "Bring sales.csv to the duckdb table clean, and squash the cents column into whole units"
STEPS = [{"type": "derive", "columns": {"cents": "cents / 100"}}]
Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configs folder with one config, and a file outside of it."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "sales.csv").write_text("id,email,cents\n1,ada@example.com,100\n", encoding="utf-8")
    (folder / "sales.json").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "outside.json").write_text(CONFIG, encoding="utf-8")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", f"postgres://shop:{CANARY}@10.1.2.3/shop")
    get_settings.cache_clear()
    return folder


def talk(
    folder: Path, script: Callable[[Any, Call], Awaitable[None]], *answers: str, write: bool = False
) -> Scripted | None:
    """Let a script talk to a server in this process; its model gives `answers`, and there is none without."""
    model = Scripted(*answers) if answers else None
    gateway: Gateway | None = gateway_over(model) if model else None

    async def run() -> None:
        async with mcp.Client(build(Tools(folder, "ada", lambda: gateway, write=write))) as client:

            async def call(tool: str, **arguments: Any) -> Any:
                result = await client.call_tool(tool, arguments)
                return result.content[0].text if result.is_error else result.structured_content

            await script(client, call)

    anyio.run(run)
    return model


def test_a_server_that_only_reads_neither_lists_nor_runs_what_writes(configs: Path) -> None:
    async def script(client: Any, call: Call) -> None:
        tools = (await client.list_tools()).tools
        names = {tool.name for tool in tools}
        assert {"list_pipelines", "author_config", "validate_config", "plan_run"} <= names
        assert not names & {"deploy_config", "rollback_config"}
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools)
        refused = await call("deploy_config", file="new.json", text=CONFIG, reason="why not")
        assert "--allow-write" in refused
        assert not (configs / "new.json").exists()

    talk(configs, script)


def test_where_it_is_allowed_a_config_is_deployed_against_its_base_and_taken_back(configs: Path) -> None:
    changed = CONFIG.replace("replace", "append")

    async def script(client: Any, call: Call) -> None:
        assert "deploy_config" in {tool.name for tool in (await client.list_tools()).tools}
        assert "exists already" in await call("deploy_config", file="sales.json", text=changed, reason="keep all")
        base = (await call("show_config", file="sales.json"))["digest"]
        done = await call("deploy_config", file="sales.json", text=changed, base=base, reason="keep all")
        assert (done["status"], done["file"]) == ("deployed", "sales.json")
        broken = await call("deploy_config", file="new.json", text='{"dag_id": "x"}', reason="a try")
        assert "[missing-key]" in broken
        assert (await call("rollback_config", file="sales.json", reason="no"))["status"] == "deployed"
        told = (await call("config_history", file="sales.json"))["revisions"]
        assert [(one["kind"], one["author"]) for one in told[:2]] == [("rollback", "ada"), ("deploy", "ada")]
        assert "keep all" in told[1]["reason"]

    talk(configs, script, write=True)
    assert (configs / "sales.json").read_text(encoding="utf-8") == CONFIG


@pytest.mark.parametrize("file", ["../outside.json", "/etc/passwd", "link.json", "a/../../outside.json", ".x.json", ""])
def test_no_path_leads_out_of_the_configs_folder(configs: Path, file: str) -> None:
    async def script(client: Any, call: Call) -> None:
        for tool in ("show_config", "explain", "repair_config", "plan_run", "preview_pipeline", "config_history"):
            answer = await call(tool, file=file)
            assert isinstance(answer, str), (tool, answer)
            assert "invalid-path" in answer
            assert "outside" not in answer.replace(file, "")
        answer = await call("deploy_config", file=file, text=CONFIG, reason="out")
        assert "invalid-path" in answer

    talk(configs, script, write=True)


def test_a_request_becomes_a_config_by_a_model_and_is_recorded(configs: Path) -> None:
    made: dict[str, Any] = {}

    async def script(client: Any, call: Call) -> None:
        made.update(await call("author_config", request=REQUEST, params={"schedule": "@daily"}))
        await call("deploy_config", file="clean.json", text=made["text"], reason="wanted")

    model = talk(configs, script, json.dumps({"transforms": STEPS, "checks": []}), write=True)
    assert made["status"] == "valid", made["findings"]
    assert made["config"]["transforms"] == STEPS
    assert made["config"]["schedule"] == "@daily"
    assert model is not None
    assert len(model.calls) == 1
    (kept,) = chats.generations(open_store(), "ada")
    assert (kept["kind"], kept["model"], kept["outcome"]) == ("author", "scripted/scripted", "valid")
    assert kept["prompt_hash"]
    from dataforge.authoring.deploy import history

    (revision,) = history("clean.json", root=configs)
    assert (revision.model, revision.prompt_hash) == (kept["model"], kept["prompt_hash"])


def test_a_slow_model_is_announced_and_freed_when_the_client_gives_up(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataforge.mcp.server.BEAT_SECONDS", 0.02)
    beats: list[float] = []
    model = Scripted(["{", 30.0, End("stop")])
    gateway = gateway_over(model)

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        beats.append(progress)

    async def run() -> None:
        async with mcp.Client(build(Tools(configs, "ada", lambda: gateway))) as client:
            with anyio.move_on_after(1.5):
                await client.call_tool("author_config", {"request": REQUEST}, progress_callback=heard)
            for _ in range(100):
                if model.closed:
                    break
                await anyio.sleep(0.02)

    anyio.run(run)
    assert len(beats) > 2
    assert model.closed == 1


def test_a_broken_config_comes_back_with_findings_and_is_repaired(configs: Path) -> None:
    broken = CONFIG.replace('"path"', '"pathh"')

    async def script(client: Any, call: Call) -> None:
        found = await call("validate_config", text=broken)
        assert not found["valid"]
        assert {"code", "line", "pointer", "suggestion"} <= set(found["findings"][0])
        assert not (await call("validate_config", text="{"))["valid"]
        repaired = await call("repair_config", text=broken, file="sales.json", turns=0)
        assert repaired["status"] == "valid"
        assert json.loads(repaired["text"]) == json.loads(CONFIG)

    talk(configs, script)


def test_what_needs_no_model_works_without_one(configs: Path) -> None:
    async def script(client: Any, call: Call) -> None:
        (pipeline,) = [one for one in (await call("list_pipelines"))["pipelines"] if one["file"] == "sales.json"]
        assert (pipeline["dag_id"], pipeline["sources"], pipeline["destinations"]) == ("sales", ["csv"], ["duckdb"])
        told = await call("show_config", file="sales.json", effective=True)
        assert {"pointer": "/dag_id", "value": "sales", "origin": "sales.json:2"} in told["pipelines"][0]["effective"]
        refined = await call("refine_config", file="sales.json", request="append the rows")
        assert refined["text"] == CONFIG.replace("replace", "append")
        assert "append" in (await call("diff_configs", file="sales.json", text=refined["text"]))["words"]
        assert "replacing" in (await call("explain", file="sales.json"))["text"]
        assert "did you mean 'csv'" in await call("describe_component", type="cvs")
        assert "did you mean 'sales.json'" in await call("show_config", file="sale.json")
        away = await call("author_config", request=REQUEST)
        assert "model-away" in {one["code"] for one in away["findings"]}

    talk(configs, script)


def test_neither_secrets_nor_rows_reach_an_assistant(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (configs / "leaky.json").write_text(
        CONFIG.replace('"sales"', '"leaky"', 1).replace('"sales.csv"', f'"https://u:{CANARY}@h/x.csv"'),
        encoding="utf-8",
    )
    heard: list[Any] = []

    async def script(client: Any, call: Call) -> None:
        heard.extend(
            [
                await call("list_connections"),
                await call("list_pipelines"),
                await call("show_config", file="leaky.json", effective=True),
                await call("preview_pipeline", file="sales.json"),
                await call("plan_run", file="sales.json"),
                await call("preview_pipeline", file="leaky.json"),
            ]
        )

    talk(configs, script)
    assert {"id": "shop_db", "type": "postgres"} in heard[0]["connections"]
    assert heard[3]["steps"][0]["columns"] == {"id": "BIGINT", "email": "VARCHAR", "cents": "BIGINT"}
    text = json.dumps(heard)
    assert CANARY not in text
    assert "10.1.2.3" not in text
    assert "ada@example.com" not in text
    heard.clear()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_SAMPLE_ROWS", "true")
    get_settings.cache_clear()
    talk(configs, script)
    assert heard[3]["steps"][0]["rows"] == [{"id": 1, "email": "***", "cents": 100}]


def test_a_step_does_not_show_a_hidden_value_by_another_name(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{"type": "derive", "columns": {"who": "upper(email)", "what": "cents + 1"}}]
    config = {**json.loads(CONFIG), "dag_id": "told", "transforms": steps}
    (configs / "told.json").write_text(json.dumps(config), encoding="utf-8")
    policies = {"column_tags": {"sales.csv.cents": ["pay"]}, "masked_tags": ["pay"]}
    (configs / "policies.json").write_text(json.dumps(policies), encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_SAMPLE_ROWS", "true")
    get_settings.cache_clear()
    heard: list[Any] = []

    async def script(client: Any, call: Call) -> None:
        heard.append(await call("preview_pipeline", file="told.json"))

    talk(configs, script)
    read, derived = (step["rows"] for step in heard[0]["steps"])
    assert read == [{"id": 1, "email": "***", "cents": "***"}]
    assert derived == [{"id": 1, "email": "***", "cents": "***", "who": "***", "what": "***"}]


def test_over_pipes_only_the_protocol_stands_on_standard_output(configs: Path, tmp_path: Path) -> None:
    heard, errors = tmp_path / "stdout", tmp_path / "stderr"
    plugins = Path(__file__).parents[2] / "plugins"
    line = f"exec {sys.executable} -m dataforge mcp --no-model --configs '{configs}' | tee '{heard}'"
    environment = {"PYTHONPATH": str(plugins), "AIRFLOW_HOME": str(tmp_path / "home"), "DATAFORGE_LOG": "DEBUG"}

    async def run() -> None:
        from mcp.client.stdio import StdioServerParameters, stdio_client

        server = StdioServerParameters(command="sh", args=["-c", line], env=environment)
        with errors.open("w", encoding="utf-8") as log:
            async with mcp.Client(stdio_client(server, errlog=log)) as client:
                assert "deploy_config" not in {tool.name for tool in (await client.list_tools()).tools}
                shown = await client.call_tool("list_pipelines", {})
                assert "sales" in {one["dag_id"] for one in shown.structured_content["pipelines"]}
                refused = await client.call_tool("deploy_config", {"file": "x.json", "text": CONFIG, "reason": "x"})
                assert refused.is_error
                assert "--allow-write" in refused.content[0].text
                escaped = await client.call_tool("show_config", {"file": "../outside.json"})
                assert escaped.is_error
                planned = await client.call_tool("plan_run", {"file": "sales.json"})
                assert planned.structured_content["loads"][0]["inserted"] == 1

    anyio.run(run)
    lines = heard.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 5
    assert all(json.loads(one)["jsonrpc"] == "2.0" for one in lines)
    assert "Traceback" not in errors.read_text(encoding="utf-8")
