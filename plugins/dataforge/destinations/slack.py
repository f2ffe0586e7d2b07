"""The slack destination: a small result as a message, through Airflow's Slack hook."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from dataforge.components.base import Capabilities, ExtractContext, Incoming, LoadContext, LoadReport
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._report import Report, ReportConfig, collect
from dataforge.errors import DataForgeError, ServerAway, TerminalError, TransientError, bounded

MAX_TEXT = 30_000
"""Characters of the table; Slack cuts a message at 40,000."""

_PASSING = frozenset(
    ("ratelimited", "rate_limited", "service_unavailable", "internal_error", "fatal_error", "request_timeout")
)


class SlackConfig(ReportConfig):
    """Config of the `slack` destination."""

    type: Literal["slack"] = "slack"
    connection: ConnectionId = Field(
        description="Airflow connection of type slack; its password is the bot's token.", examples=["slack_reports"]
    )
    channel: str = Field(
        pattern=r"^(#[^\s#@,]{1,80}|[CDGU][A-Z0-9]{5,20})$",
        description="Channel to write to: its name with #, or its id. Attachments need the id, and the bot in it.",
        examples=["#sales", "C024BE91L"],
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return Slack's own client, which its provider brings."""
        return (Extra("slack", "slack_sdk"),)


@DESTINATIONS.register(SlackConfig)
class SlackDestination:
    """Posts a small result to a Slack channel: a table of its first rows, and the rows as a CSV file."""

    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({"append"}), transactional=False, kind="files")

    def __init__(self, config: SlackConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Post one message, none for a result without rows unless that is wanted."""
        from airflow.sdk.exceptions import AirflowException
        from slack_sdk.errors import SlackClientError

        config = self.config
        report = collect(config, incoming, context)
        place = f"Slack channel {config.channel}"
        if not report.rows and not config.send_empty:
            context.log("no message sent", reason="there are no rows")
            return LoadReport(place, 0)
        if config.attachment == "csv" and config.channel.startswith("#"):
            raise TerminalError(
                "Slack takes files for a channel by its id, such as 'C024BE91L'; write that as 'channel'"
            )
        try:
            client = self._client()
            if config.attachment == "csv":
                path = report.write_csv(context.scratch / "rows.csv")
                client.files_upload_v2(
                    channel=config.channel, file=str(path), filename="rows.csv", initial_comment=_text(config, report)
                )
            else:
                client.chat_postMessage(channel=config.channel, text=_text(config, report), unfurl_links=False)
        except (OSError, ValueError, AirflowException, SlackClientError) as error:
            raise self._explained(error) from None
        return LoadReport(place, report.rows, inserted=report.rows)

    def check(self, context: ExtractContext) -> str:
        """Return as whom and where the bot is logged in; nothing is posted."""
        from airflow.sdk.exceptions import AirflowException
        from slack_sdk.errors import SlackClientError

        context.connection(self.config.connection)
        try:
            found = self._client().auth_test()
        except (OSError, ValueError, AirflowException, SlackClientError) as error:
            raise self._explained(error) from None
        return f"Slack knows us as {found.get('user')!r} of {found.get('team')!r}"

    def _client(self) -> Any:
        from airflow.providers.slack.hooks.slack import SlackHook

        return SlackHook(slack_conn_id=self.config.connection).client

    def _explained(self, error: Exception) -> DataForgeError:
        """Return an error of the hook as ours."""
        response = getattr(error, "response", None)
        if response is not None:
            code = str(response.get("error", "")) if hasattr(response, "get") else ""
            status = int(getattr(response, "status_code", 0) or 0)
            shown = code or f"status {status}"
            needs = response.get("needed") if hasattr(response, "get") else None
            message = f"Slack refuses: {shown}" + (f"; the bot needs the scope {needs}" if needs else "")
            return (TransientError if code in _PASSING or status in (429, 500) or status > 500 else TerminalError)(
                message
            )
        text = bounded(f"{type(error).__name__}: {error}", 300)
        if isinstance(error, OSError):
            return ServerAway(f"Slack does not answer: {text}", self.config.connection)
        return TerminalError(f"the message can't be posted: {text}")


def _text(config: SlackConfig, report: Report) -> str:
    parts = [_escaped(config.message)] if config.message else []
    if config.table == "rows":
        # a run of ticks would end the block
        table = _escaped(report.as_text(MAX_TEXT)).replace("```", "'''")
        parts.append(f"```\n{table}\n```" if report.rows else "There are no rows.")
    if config.attachment == "csv" and report.rows > len(report.attached):
        parts.append(f"The file holds the first {len(report.attached):,} of {report.rows:,} rows.")
    return "\n".join(parts) or " "


def _escaped(text: str) -> str:
    """Return a text in which nothing is a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
