"""The email destination: a small result as a mail, through Airflow's SMTP hook."""

from __future__ import annotations

import smtplib
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from dataforge.components.base import Capabilities, Connection, ExtractContext, Incoming, LoadContext, LoadReport
from dataforge.components.fields import ConnectionId, TemplatedText
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._report import Report, ReportConfig, collect
from dataforge.errors import DataForgeError, ServerAway, TerminalError, TransientError, bounded


def _check_address(value: str) -> str:
    name, at, domain = value.rpartition("@")
    if not (name and at and "." in domain) or any(char in value for char in " ,;<>\r\n\t\"'") or not value.isascii():
        raise ValueError(f"{value!r} is no mail address; write for example 'team@example.org'")
    return value


Address = Annotated[str, AfterValidator(_check_address), Field(max_length=254)]


class EmailConfig(ReportConfig):
    """Config of the `email` destination."""

    type: Literal["email"] = "email"
    connection: ConnectionId = Field(
        description="Airflow connection of type smtp. Its extra may limit to whom a config can write: "
        '"allowed_recipients", a list of addresses and domains.',
        examples=["smtp_default"],
    )
    to: tuple[Address, ...] = Field(
        min_length=1, max_length=50, description="To whom the mail goes.", examples=[["sales@example.org"]]
    )
    subject: TemplatedText = Field(
        min_length=1,
        max_length=300,
        description="Subject of the mail.",
        examples=["Orders of ${data_interval_start:%d.%m.%Y}"],
    )


@DESTINATIONS.register(EmailConfig)
class EmailDestination:
    """Sends a small result as a mail: a table of its first rows, and the rows as a CSV file."""

    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({"append"}), transactional=False, kind="files")

    def __init__(self, config: EmailConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Send one mail, none for a result without rows unless that is wanted."""
        from airflow.providers.smtp.hooks.smtp import SmtpHook
        from airflow.sdk.exceptions import AirflowException

        config = self.config
        self._refuse_others(context.connection(config.connection))
        report = collect(config, incoming, context)
        place = f"mail to {', '.join(config.to)}"
        if not report.rows and not config.send_empty:
            context.log("no mail sent", reason="there are no rows")
            return LoadReport(place, 0)
        files = [str(report.write_csv(context.scratch / "rows.csv"))] if config.attachment == "csv" else []
        # the same for each try, so that a mailbox can tell a mail that comes twice
        headers = {"Message-ID": f"<{context.run_key}@dataforge.invalid>"}
        subject = " ".join(config.subject.split())
        try:
            with SmtpHook(smtp_conn_id=config.connection) as hook:
                hook.send_email_smtp(
                    to=list(config.to),
                    subject=subject,
                    html_content=_html(config, report),
                    files=files,
                    custom_headers=headers,
                )
        except (OSError, ValueError, AirflowException) as error:  # those of smtplib are OSErrors
            raise self._explained(error) from None
        return LoadReport(place, report.rows, inserted=report.rows)

    def check(self, context: ExtractContext) -> str:
        """Return that the server lets us in; no mail is sent."""
        from airflow.providers.smtp.hooks.smtp import SmtpHook
        from airflow.sdk.exceptions import AirflowException

        connection = context.connection(self.config.connection)
        self._refuse_others(connection)
        try:
            with SmtpHook(smtp_conn_id=self.config.connection):
                return f"the mail server {connection.host} answers"
        except (OSError, ValueError, AirflowException) as error:  # those of smtplib are OSErrors
            raise self._explained(error) from None

    def _refuse_others(self, connection: Connection) -> None:
        """Raise TerminalError for a recipient that the connection does not allow."""
        allowed = connection.extra.get("allowed_recipients")
        if allowed is None:
            return
        listed = [str(one).lower() for one in (allowed if isinstance(allowed, list) else str(allowed).split(","))]
        for address in self.config.to:
            if address.lower() not in listed and address.lower().rpartition("@")[2] not in listed:
                raise TerminalError(f"connection {connection.id!r} does not allow mail to {address!r}")

    def _explained(self, error: Exception) -> DataForgeError:
        """Return an error of the hook as ours."""
        cause = error.__cause__ if isinstance(error.__cause__, Exception) and "smtp" in str(error).lower() else error
        text = bounded(f"{type(cause).__name__}: {cause}", 300)
        if isinstance(cause, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in cause.recipients.values()]
            kind = TerminalError if any(code >= 500 for code in codes) else TransientError
            return kind(f"the mail server refuses the recipients {', '.join(sorted(cause.recipients))}: {text}")
        if isinstance(cause, smtplib.SMTPResponseException):
            wrong = TerminalError if cause.smtp_code >= 500 else TransientError
            return wrong(f"the mail server refuses: {text}")
        if isinstance(cause, OSError):
            return ServerAway(f"the mail server does not answer: {text}", self.config.connection)
        return TerminalError(f"the mail can't be sent: {text}")


def _html(config: EmailConfig, report: Report) -> str:
    import html

    lines = "<br>".join(html.escape(line) for line in config.message.splitlines())
    parts = [f"<p>{lines}</p>"] if lines else []
    if config.table == "rows":
        parts.append(report.as_html() if report.rows else "<p>There are no rows.</p>")
    if config.attachment == "csv" and report.rows > len(report.attached):
        parts.append(f"<p>The file holds the first {len(report.attached):,} of {report.rows:,} rows.</p>")
    return f"<html><body>{''.join(parts) or '<p></p>'}</body></html>"
