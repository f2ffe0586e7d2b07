"""The first stage: read a source, type its records over all rows, stage them as Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dataforge.components.base import Batches, ExtractContext, Extracted, Files, JsonValue, refuse_record
from dataforge.components.database import quote_identifier
from dataforge.components.delivery import Reject, RejectLimit
from dataforge.components.registry import DESTINATIONS, SOURCES, TRANSFORMS
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, NothingToLoad, TerminalError, TransientError
from dataforge.observability.log import line, timed
from dataforge.runtime import cursor, rejects
from dataforge.runtime.context import TaskContext
from dataforge.runtime.staging import Staging, parquet_rows
from dataforge.runtime.values import resolve

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from dataforge.runtime.checks import CheckResult
    from dataforge.runtime.cursor import Cut, Reading
    from dataforge.runtime.landing import Landed

Result = TypeVar("Result")


def run(config: PipelineConfig, source: str, context: TaskContext) -> dict[str, JsonValue]:
    """Extract the named source into staging; return its manifest, with counts, as JSON for the next task."""
    from dataforge.runtime.engines.duckdb_ import write_parquet

    with ExitStack() as stack:
        done = stack.enter_context(timed("extract", dag_id=config.dag_id, run_id=context.run_id, source=source))
        staging = Staging.open(context.settings, context.connection)
        attempt = staging.attempt(context.dag_id, context.run_id, f"extract-{source}", context.attempt)
        folder = stack.enter_context(attempt).folder
        scratch = stack.enter_context(context.scratch())
        readings = cursor.readings(config, context)
        con, views = stack.enter_context(landed(config, (source,), context, scratch, (folder,), readings=readings))
        part = folder / "part-0.parquet"
        extra: dict[str, JsonValue] = {}
        parts: list[Path] = []
        view = views[source]
        reading = readings.get(source)
        if reading is not None and reading.files is not None:
            extra["cursor"] = reading.files.done().to_json()
        elif reading is not None and reading.own:
            extra["cursor"] = reading.reached(views.reached.get(source)).to_json()
        if reading is not None and reading.by_field:
            cut = cut_views(con, views, readings, folder)[source]
            extra["cursor"] = cut.step.to_json()
            if cursor.reject(con, cut, readings[source], folder / "rejects-cursor.parquet"):
                parts.append(folder / "rejects-cursor.parquet")
            if cut.whole:
                cut.path.rename(part)
                rows = parquet_rows(part)
            else:
                rows = write_parquet(con, source, part)
                cut.path.unlink()
        else:
            rows = with_widening(views.values(), lambda: write_parquet(con, source, part))
        parts += view.write_rejects(folder, source)
        parts += views.write_refused(folder, source)
        views.refuse_incomplete()
        rejected = len(rejects.read(parts))
        extra |= {"rows_read": rows + rejected, "rejected": rejected}
        # what is a large share of one source may be a small one of all of them
        limit = config.reject_limit if len(config.inputs) == 1 else replace(config.reject_limit, max_share=1)
        rejects.refuse_too_many(limit, rejected, extra["rows_read"], parts)
        columns = views[source].columns
        manifest = attempt.publish([part], columns=columns, extra=extra, rows={part: rows}, rejects=parts)
        done(rows=manifest.rows, bytes=manifest.bytes, **({"rejected": rejected} if rejected else {}))
    return {**manifest.to_json(), "rows_read": extra["rows_read"], "rejected": rejected}


def cut_views(
    con: DuckDBPyConnection, views: dict[str, Landed], readings: Mapping[str, Reading], folder: Path
) -> dict[str, Cut]:
    """Leave only the wanted records in the views of sources with a cursor, which are kept in `folder` for that."""
    cuts: dict[str, Cut] = {}
    for name, view in views.items():
        if (reading := readings.get(name)) is not None and reading.by_field:
            path = folder / f"cut-{len(cuts)}.parquet"
            cuts[name] = with_widening([view], partial(cursor.cut, con, view, reading, path))
    views.update({name: cut.view for name, cut in cuts.items()})
    return cuts


class Views(dict[str, "Landed"]):
    """The sources' views by name, and the files that they are read from as those were before they were read.

    `reached` holds where sources with a position of their own ended, `refused` the records that could not be read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reached: dict[str, JsonValue] = {}
        self.refused: dict[str, list[Reject]] = {}
        self._files: dict[Path, tuple[int, int, int]] = {}
        self._landed: list[Landed] = []

    def add(self, name: str, view: Landed) -> None:
        """Take in a source's view as it was landed; another may stand in its place later."""
        self[name] = view
        self._landed.append(view)

    def reject(self, name: str, limit: RejectLimit, reject: Reject) -> None:
        """Keep a record of a source that could not be read; TerminalError when there are too many, or none may be."""
        if not limit.enabled:
            refuse_record(reject)
        found = self.refused.setdefault(name, [])
        found.append(reject)
        if len(found) > limit.max_rows:
            raise TerminalError(
                f"{limit.exceeded(len(found), len(found))}; nothing was loaded. The last one: "
                f"{reject.position}: {reject.reason}"
            )

    def write_refused(self, folder: Path, name: str) -> list[Path]:
        """Write the records that could not be read as a reject part, if there are any; return its path."""
        part = rejects.next_part(folder)
        refused = self.refused.get(name)
        return [part] if refused and rejects.write(part, refused) else []  # Arrow is loaded only where it is needed

    def watch(self, path: Path) -> None:
        """Note what a file is now."""
        self._files.setdefault(path, _stamp(path))

    def refuse_incomplete(self) -> None:
        """Raise what broke a source's stream; TransientError when a file was replaced, cut or removed since.

        What was read may be a part of it, so this comes after reading and before anything is kept of it.
        """
        for view in self._landed:
            view.refuse_broken()
        for path, before in self._files.items():
            if _stamp(path) != before:
                raise TransientError(f"{path.name} changed while it was read; nothing was loaded. It is read again")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (-1, -1, -1)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


@contextmanager
def landed(
    config: PipelineConfig,
    sources: Iterable[str],
    context: TaskContext,
    scratch: Path,
    writable: Sequence[Path] = (),
    sample: int | None = None,
    readings: Mapping[str, Reading] | None = None,
) -> Iterator[tuple[DuckDBPyConnection, Views]]:
    """Open the sources and give an engine connection in which each is a typed view of its own name.

    Sources may leave out what their reading does not want, but need not: `cut_views` does so for certain.
    """
    from dataforge.runtime.landing import NoRecordsError, land

    views = Views()
    extracted = {
        name: _extract(config, name, context, scratch / f"source-{name}", sample, (readings or {}).get(name), views)
        for name in sources
    }
    files = [path for one in extracted.values() if isinstance(one, Files) for path in one.paths]
    con = connect_for(config, context, scratch, (*writable, *files))
    opened = [one for one in extracted.values() if isinstance(one, Batches)]
    try:
        for name, one in extracted.items():
            view = land(
                con,
                name,
                one,
                overrides=config.inputs[name].columns,
                scratch=scratch / f"land-{name}",
                sample=sample,
                limit=config.reject_limit,
            )
            views.add(name, view)
        if opened:
            # a stream can't be read a second time, so nothing beside it may rest on an assumption
            for view in views.values():
                if view.assumed:
                    view.widen()
        yield con, views
    except FileNotFoundError as error:
        name = Path(error.filename or "a file").name
        raise TransientError(
            f"{name} was removed while it was read; nothing was loaded. It is looked for again"
        ) from None
    except NoRecordsError as error:
        if len(config.inputs) > 1 and readings:
            hint = "set 'columns' on that source, so that it is empty and the others are read"
            raise TerminalError(f"{error}; {hint}") from None
        if len(config.inputs) > 1:
            raise
        refuse_nothing(config, con, context)
        if readings:
            raise NothingToLoad(f"{error}; nothing is new, the cursor stays where it is") from None
        hint = "set 'columns' on the source to load an empty result instead"
        raise NothingToLoad(f"{error}; the target is left as it is; {hint}") from None
    finally:
        con.close()
        for one in opened:
            one.close()


def with_widening(views: Iterable[Landed], action: Callable[[], Result]) -> Result:
    """Return what `action` returns; when sampled types turn out too narrow, type over all rows and act once more.

    Views from which records may be set aside are replaced by ones without those that broke the action, likewise.
    """
    from dataforge.runtime.landing import explain, is_assumption_failure

    views = tuple(views)
    while True:
        try:
            result = action()
            for view in views:
                view.refuse_broken()
        except Exception as error:
            failure = next((view.failure for view in views if view.failure is not None), None)
            if failure is not None:
                raise failure from None
            if any(view.sift(error) for view in views):
                line("records set aside", reason="a value or a line does not fit; reading again without such records")
                continue
            assumed = [view for view in views if view.assumed]
            if not assumed or not is_assumption_failure(error):
                explained = explain(error)
                if explained is None:
                    raise
                raise explained from error
            line("types widened", reason="a later value does not fit the type of the first rows; reading all rows")
            for view in assumed:
                view.widen()
        else:
            return result


def refuse_nothing(config: PipelineConfig, con: DuckDBPyConnection, context: TaskContext) -> None:
    """Raise CheckFailed when a check does not hold of no rows at all; one that names columns holds of none."""
    from dataforge.runtime.checks import evaluate, refuse_failed
    from dataforge.runtime.compile import scope

    con.execute('CREATE OR REPLACE VIEW "no rows" AS SELECT NULL WHERE false')
    results: list[CheckResult] = []
    for check in config.checks:
        with suppress(ConfigError, TerminalError):
            results += evaluate(con, [check], "no rows", None, scope(config, context.values))
    refuse_failed(results)


def keep(con: DuckDBPyConnection, view: Landed, path: Path) -> Landed:
    """Write a view to a Parquet file and put a view of the same name over it, so that it can be read many times."""
    from dataforge.runtime.engines.duckdb_ import write_parquet
    from dataforge.runtime.landing import land

    name = view.view
    write_parquet(con, name, path)
    view.refuse_broken()
    # a stream, or a temporary view over one, would hide the view that takes its place
    con.unregister(name)
    con.execute(f"DROP VIEW IF EXISTS temp.{quote_identifier(name)}")
    return land(con, name, Files("parquet", (path,)), scratch=path.parent)


def connect_for(
    config: PipelineConfig, context: TaskContext, scratch: Path, readable: Sequence[Path]
) -> DuckDBPyConnection:
    """Return an engine connection with the deployment's limits that can open `scratch` and the readable places."""
    from dataforge.runtime.engines.duckdb_ import connect

    settings = context.settings
    return connect(
        scratch,
        readable=readable,
        memory_mb=settings.memory_limit_mb,
        threads=settings.threads,
        ordered=order_matters(config),
        straining=config.reject_limit.enabled,
    )


def order_matters(config: PipelineConfig) -> bool:
    """Whether the order of rows shows in the result: keeping it costs the engine memory and a third of its speed."""
    ordering = {"sort", "limit", "sql"}
    in_files = any(DESTINATIONS.build(output).capabilities.kind == "files" for output in config.outputs)
    return in_files or any(
        step.type in ordering or hasattr(TRANSFORMS.build(step), "apply_batches") for step in config.transforms
    )


def _extract(
    config: PipelineConfig,
    name: str,
    context: TaskContext,
    scratch: Path,
    sample: int | None,
    reading: Reading | None,
    views: Views,
) -> Extracted:
    scratch.mkdir(mode=0o700)
    (scratch.parent / f"land-{name}").mkdir(mode=0o700)
    prefix = ("source",) if config.source is not None else ("sources", name)
    try:
        source = SOURCES.build(resolve(config.inputs[name], context.values))
        handed = ExtractContext(
            context.connection,
            scratch,
            context.values,
            sample,
            line,
            reading.bounds() if reading and reading.by_field else None,
            views.watch,
            position=reading.position(partial(views.reached.__setitem__, name)) if reading and reading.own else None,
            reject=partial(views.reject, name, config.reject_limit),
            source=name,
        )
        choose = reading.files.choose if reading and reading.files else None
        return source.extract(handed if choose is None else replace(handed, choose=choose))
    except ConfigError as error:
        raise error.under(*prefix) from None
    except FileNotFoundError as error:
        raise _removed(error) from None


def _removed(error: FileNotFoundError) -> TransientError:
    name = Path(error.filename or "a file").name
    return TransientError(f"{name} was removed while it was read; nothing was loaded. It is looked for again")
