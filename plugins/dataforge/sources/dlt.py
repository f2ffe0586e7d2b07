"""The dlt source: a dlt resource of an installed package, named by its entry point."""

from __future__ import annotations

import difflib
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Field, ValidationError, create_model

from dataforge.components import retry
from dataforge.components.base import ExtractContext, Files, JsonValue, SourceConfig
from dataforge.components.delivery import Grade
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId
from dataforge.components.registry import SOURCES
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError, TransientError, bounded
from dataforge.sources import _tap

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

GROUP = "dataforge.dlt_resources"
"""The group of entry points by which packages offer dlt resources and sources."""

MAX_STATE = 1024 * 1024
"""Bytes of a state; it stands in the marker of each load."""


class DltConfig(SourceConfig):
    """Config of the dlt source."""

    type: Literal["dlt"] = "dlt"
    resource: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,200}$",
        description="Name of the dlt resource or source: the entry point of the group dataforge.dlt_resources under "
        "which an installed package offers it.",
        examples=["github_issues"],
    )
    stream: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="Which resource of a dlt source that has several.",
        examples=["issues"],
    )
    args: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Arguments of the resource, checked against its own annotations; secrets belong into connection.",
        examples=[{"repository": "dlt-hub/dlt"}],
    )
    connection: ConnectionId | None = Field(
        default=None, description="Airflow connection whose extra holds further arguments, such as access tokens."
    )
    resume: bool = Field(
        default=False,
        description="Whether each run goes on from the state that dlt's incremental loading kept in the one before. "
        "The state is committed with the rows. Needs write_disposition append or merge.",
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return dlt itself."""
        return (Extra("dlt", "dlt"),)

    def position_name(self) -> str | None:
        """Return "state" where runs go on from it."""
        return "state" if self.resume else None

    def grade(self) -> Grade:
        """Return what a resource proves: nothing beyond its having ended well."""
        return "unstable"


@SOURCES.register(DltConfig)
class DltSource:
    """Reads a dlt resource of an installed package, with dlt's incremental state kept beside the loaded rows."""

    def __init__(self, config: DltConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Read the resource to its end, its records in scratch: Arrow batches as Parquet, dicts as NDJSON."""
        # else dlt asks Airflow for a variable of the name of each argument; config and connection say all there is
        os.environ.setdefault("PROVIDERS__ENABLE_AIRFLOW_SECRETS", "false")
        from dlt.common.configuration.container import Container
        from dlt.common.json import json as dlt_json
        from dlt.common.pipeline import StateInjectableContext

        position = context.position
        if position is not None and position.until is not None:
            raise TerminalError(
                "a dlt resource can't be asked for the records of an earlier run alone; undo that run with 'dataforge "
                "undo', and the next run reads on from before it"
            )
        before = position.before if position is not None else None
        state: Any = {} if before is None else dlt_json.typed_loads(json.dumps(before))
        with self._errors(context), Container().injectable_context(StateInjectableContext(state=state)):
            spool = _Spool(context.scratch, context.sample, self.config.resource)
            resource = self._resource(context)
            for item in resource:
                if not spool.add(item):
                    break
            files = spool.files()
            after = dlt_json.typed_dumps(state)
        if position is not None:
            if len(after) > MAX_STATE:
                raise TerminalError(f"the state of {self.config.resource!r} is larger than {MAX_STATE} bytes")
            position.reach(json.loads(after))
        return files

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong where no package offers the resource, or a cursor is wanted besides the state."""
        if _point(self.config.resource) is None:
            yield _missing(self.config.resource)
        if self.config.resume and self.config.cursor_field is not None:
            message = "dlt's state says from where on to read, so there can be no cursor_field beside it"
            yield Problem("conflicting-keys", message, ("cursor_field",), "remove one of 'resume', 'cursor_field'")

    def check(self, context: ExtractContext) -> str:
        """Return what the entry point leads to, with its arguments; nothing is read."""
        with self._errors(context):
            resource = self._resource(context)
        point = _point(self.config.resource)
        package = (
            f"{point.dist.name} {point.dist.version}" if point is not None and point.dist is not None else "a package"
        )
        return f"{self.config.resource} of {package}: the dlt resource {resource.name!r}"

    def _resource(self, context: ExtractContext) -> Any:
        """Return the resource with its arguments bound."""
        from dlt.extract import DltResource, DltSource

        point = _point(self.config.resource)
        if point is None:
            raise ConfigError(_missing(self.config.resource))
        offered = point.load()
        secrets = self._secrets(context)
        if not isinstance(offered, DltResource) and not callable(offered):
            raise TerminalError(
                f"the entry point {self.config.resource!r} leads to {type(offered).__name__}, no resource"
            )
        found = _called(offered, self.config.args, secrets)
        if isinstance(found, DltSource):
            names = list(found.resources)
            chosen = self.config.stream or (names[0] if len(names) == 1 else None)
            if chosen not in names:
                near = difflib.get_close_matches(chosen or "", names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(sorted(names))}"
                message = f"{self.config.resource!r} has {len(names)} resources, {chosen!r} is none of them"
                raise ConfigError(Problem("unknown-table", message, ("stream",), hint, tuple(names)))
            found = found.resources[chosen]
        if not isinstance(found, DltResource):
            raise TerminalError(f"{self.config.resource!r} gave {type(found).__name__}, no dlt resource")
        return found

    def _secrets(self, context: ExtractContext) -> dict[str, Any]:
        return dict(context.connection(self.config.connection).extra) if self.config.connection else {}

    def _errors(self, context: ExtractContext) -> _Errors:
        texts = {form for text in _tap.texts(self._secrets(context)) for form in (text, quote(text, safe=""))}
        return _Errors(self.config.resource, sorted(texts, key=len, reverse=True))


class _Errors:
    """Turns what a package's code raises into our errors, without the secrets that it was given."""

    def __init__(self, name: str, secrets: Sequence[str]) -> None:
        self._name, self._secrets = name, secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, DataForgeError):
            return
        cause: BaseException = error
        while cause.__cause__ is not None or cause.__context__ is not None:
            cause = cause.__cause__ or cause.__context__ or cause
        said = str(cause)
        for secret in self._secrets:
            said = said.replace(secret, "***")
        message = bounded(f"{self._name}: {type(cause).__name__}: {said}", 500)
        if isinstance(cause, OSError):  # as those of requests are
            status = getattr(getattr(cause, "response", None), "status_code", None)
            verdict = retry.of_status(status) if status else retry.of_os_error(cause)
            raise (TerminalError if verdict == "terminal" else TransientError)(message) from None
        raise TerminalError(message) from None


class _Spool:
    """The records in scratch, in the form in which they come."""

    def __init__(self, folder: Path, sample: int | None, name: str) -> None:
        self._folder, self._sample, self._name = folder, sample, name
        self._rows = 0
        self._parquet: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._lines: Any = None

    def add(self, item: Any) -> bool:
        """Keep what the resource gave; return whether more is wanted."""
        import pyarrow as pa

        if isinstance(item, pa.RecordBatch):
            item = pa.Table.from_batches([item])
        if isinstance(item, pa.Table):
            self._add_table(item)
        elif hasattr(item, "to_dict") and hasattr(item, "columns"):  # a DataFrame
            self._add_table(pa.Table.from_pandas(item, preserve_index=False))
        else:
            for record in item if isinstance(item, list) else [item]:
                self._add_record(record)
        return self._sample is None or self._rows < self._sample

    def files(self) -> Files:
        """Return what was kept."""
        if self._parquet is not None:
            self._parquet.close()
            return Files("parquet", (self._folder / "records.parquet",))
        if self._lines is None:
            self._open()
        self._lines.close()
        return Files("json", (self._folder / "records.ndjson",), {"format": "newline_delimited"})

    def _add_table(self, table: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._lines is not None:
            raise self._mixed()
        if self._sample is not None:
            table = table.slice(0, self._sample - self._rows)
        if self._parquet is None:
            self._schema = table.schema
            self._parquet = pq.ParquetWriter(self._folder / "records.parquet", table.schema)
        schema = self._schema
        assert schema is not None
        try:
            self._parquet.write_table(table.select(schema.names).cast(schema))
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            raise TerminalError(f"{self._name} gave tables of different columns: {bounded(str(error), 200)}") from None
        self._rows += table.num_rows

    def _add_record(self, record: Any) -> None:
        if self._parquet is not None:
            raise self._mixed()
        if hasattr(record, "model_dump"):
            record = record.model_dump()
        if not isinstance(record, dict):
            raise TerminalError(f"{self._name} gave {type(record).__name__}, neither a record nor an Arrow table")
        if self._lines is None:
            self._open()
        if self._sample is None or self._rows < self._sample:
            self._lines.write(_json(record) + "\n")
            self._rows += 1

    def _open(self) -> None:
        self._lines = (self._folder / "records.ndjson").open("w", encoding="utf-8")

    def _mixed(self) -> TerminalError:
        return TerminalError(f"{self._name} gave records and Arrow tables; one of both can be read")


def _json(record: dict[str, Any]) -> str:
    """Return a record as one line; numbers keep their digits, times become ISO 8601."""
    import simplejson  # type: ignore[import-untyped,unused-ignore]  # dlt brings it

    text: str = simplejson.dumps(record, use_decimal=True, default=_plain, ensure_ascii=False, ignore_nan=True)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set | frozenset | Iterator):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value if isinstance(value, Decimal) else str(value)


def _called(offered: Any, args: dict[str, Any], secrets: dict[str, Any]) -> Any:
    """Return what a resource or source gives for these arguments; ConfigError for one that it does not take."""
    signature = inspect.signature(getattr(getattr(offered, "_pipe", None), "gen", None) or offered)
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    open_ = any(parameter.kind == parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    for name in args:
        if name not in parameters and not open_:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(parameters) or 'none'}"
            raise ConfigError(Problem("unknown-key", f"the resource takes no argument {name!r}", ("args", name), hint))
    given = {**{name: value for name, value in secrets.items() if name in parameters}, **args}
    typed = _typed(offered, {name: parameters[name] for name in given if name in parameters}, given)
    return offered(**{**given, **typed}) if given or not _is_resource(offered) else offered


def _is_resource(offered: Any) -> bool:
    from dlt.extract import DltResource

    return isinstance(offered, DltResource)


def _typed(offered: Any, parameters: dict[str, inspect.Parameter], given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments as the values that their annotations ask for."""
    function = getattr(getattr(offered, "_pipe", None), "gen", None) or offered
    try:
        hints = inspect.get_annotations(inspect.unwrap(function), eval_str=True)
    except (NameError, TypeError, SyntaxError):  # annotations that can't be looked up say nothing
        return {}
    fields: dict[str, Any] = {name: (hints[name], ...) for name in parameters if name in hints}
    try:
        model = create_model("Arguments", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)
        checked = model.model_validate({name: given[name] for name in fields})
    except ValidationError as error:
        problems = [
            Problem("wrong-type", f"the argument {one['loc'][0]!r}: {one['msg']}", ("args", *one["loc"]))
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError(problems) from None
    return {name: getattr(checked, name) for name in fields}


def _point(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUP, name=name)), None)


def _missing(name: str) -> Problem:
    known = sorted({point.name for point in entry_points(group=GROUP)})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known[:20]) or 'none'}"
    message = f"no installed package offers a dlt resource {name!r} (entry points of the group {GROUP})"
    return Problem("unknown-component", message, ("resource",), hint, tuple(known))
