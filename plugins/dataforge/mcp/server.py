"""The tools over the Model Context Protocol, on standard input and output, by the official SDK."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from dataforge import __version__
from dataforge.authoring.tools import Answer, Tool, Tools, answered, told
from dataforge.errors import DataForgeError, TerminalError
from dataforge.gateway.base import Cancel

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

BEAT_SECONDS = 5.0
"""How often a client hears that a tool is still at work; many give up after a minute of silence."""
INSTRUCTIONS = """\
DataForge turns JSON configs into Airflow pipelines that move data from sources to destinations.
To make one: author_config with the person's own words; look at its findings, assumptions and questions, and ask the
person what is open. validate_config checks a text that you wrote or changed; describe_component tells a component's
keys. Show the person the config and its diff before deploy_config, where that is offered. Configs name Airflow
connections by id (list_connections); they never hold passwords, hosts or code."""
READ_ONLY = (
    "{name} is not allowed: this server only reads. A person may allow it by starting it as `dataforge mcp "
    "--allow-write`, or by [dataforge] mcp_allow_write"
)


def build(tools: Tools) -> MCPServer:
    """Return the server of these tools; TerminalError when the SDK is not installed."""
    try:
        from mcp.server.mcpserver import Context, MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp_types import ToolAnnotations
    except ImportError:
        raise TerminalError("the MCP server needs the extra: pip install 'airflow-dataforge[mcp]'") from None

    refused = () if tools.write else tuple(tool.__name__ for tool in tools.writing())

    class Server(MCPServer):
        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            if name in refused:
                raise ToolError(READ_ONLY.format(name=name))
            return await super().call_tool(name, arguments, context)

    server = Server("dataforge", title="DataForge", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    for tool in (*tools.reading(), *(tools.writing() if tools.write else ())):
        writes = tool in tools.writing()
        notes = ToolAnnotations(
            read_only_hint=not writes, destructive_hint=writes, idempotent_hint=not writes, open_world_hint=False
        )
        server.add_tool(_offered(tool, Context, ToolError), annotations=notes, description=_one_line(tool.__doc__))
    return server


def serve(tools: Tools) -> None:
    """Answer on standard input and output until the client hangs up; all that is logged goes to standard error."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    build(tools).run()


def _offered(tool: Tool, context_type: type, error_type: type[Exception]) -> Callable[..., Awaitable[Answer]]:
    """Return a tool as the SDK takes it: it works in a thread, gives signs of life and ends when the client does."""
    import anyio

    signature = inspect.signature(tool, eval_str=True)
    own = {name: one for name, one in signature.parameters.items() if one.kind is one.KEYWORD_ONLY}
    asked = [one for name, one in signature.parameters.items() if name not in own]

    async def call(ctx: Any, **arguments: Any) -> Answer:
        cancel = Cancel()
        if "cancel" in own:
            arguments["cancel"] = cancel

        async def beat() -> None:
            for number in count(1):
                await anyio.sleep(BEAT_SECONDS)
                await ctx.report_progress(number, message="at work")

        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            try:
                done = await anyio.to_thread.run_sync(partial(_done, tool, arguments), abandon_on_cancel=True)
            finally:
                cancel()
                group.cancel_scope.cancel()
        if isinstance(done, str):
            raise error_type(done)
        return done

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=context_type)
    call.__name__ = tool.__name__
    call.__signature__ = signature.replace(parameters=[*asked, context])  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in (*asked, context)} | {"return": Answer}
    return call


def _done(tool: Tool, arguments: dict[str, Any]) -> Answer | str:
    """Return a tool's answer, without secrets; of an error that was to be expected, the sentence that tells it."""
    try:
        return answered(tool(**arguments))
    except DataForgeError as error:
        return told(error)
    except OSError as error:
        return f"a file could not be read or written: {error.strerror or type(error).__name__}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
