"""Hive partitions: the rows of a load by the values of some columns, each group in a folder `column=value/`.

Readers that know this layout take the columns from the folders' names, so the files do not hold them. Names and values
are escaped as URLs are, which Hive, Spark, DuckDB and Arrow read back; no value is `__HIVE_DEFAULT_PARTITION__`.

Rows go to one Arrow file for each group in scratch first, since a stream comes in no order of groups: memory is that
of one batch and of the open files.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dataforge.errors import ConfigError, Problem, TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 10_000
"""Folders that one load may write."""

OPEN = 100
"""Files that are written at the same time; another group closes the one that was left alone for longest."""

NULL = "__HIVE_DEFAULT_PARTITION__"
FOLDER = re.compile(r"\A[^/=]+=[^/]+\Z")
"""The name of a partition's folder."""


def check_columns(columns: Sequence[str], schema: pa.Schema) -> None:
    """Raise ConfigError when rows of that schema can't be put into folders by these columns."""
    from pyarrow import types as t

    problems = []
    for index, name in enumerate(columns):
        path = ("partition_by", index)
        if name not in schema.names:
            message = f"the records have no column {name!r} to partition by"
            problems.append(Problem("unknown-column", message, path, f"columns: {', '.join(schema.names[:30])}"))
            continue
        kind = schema.field(name).type
        fits = (t.is_string, t.is_large_string, t.is_integer, t.is_boolean, t.is_date, t.is_null)
        if not any(test(kind) for test in fits):
            message = f"column {name!r} is {kind}; folders are named by text, integers, booleans and dates"
            hint = "derive a date or text from it, such as date_trunc('day', …) cast to date"
            problems.append(Problem("type-mismatch", message, path, hint))
    if not problems and len(columns) == len(schema.names):
        message = "all columns are in 'partition_by', so that nothing would be left for the files"
        problems.append(Problem("invalid-columns", message, ("partition_by",)))
    if problems:
        raise ConfigError(problems)


def folder_name(column: str, value: str | None) -> str:
    """Return the name of one folder; TerminalError for a text that no reader would give back."""
    if value == "":
        raise TerminalError(
            f"column {column!r}, by which the files are partitioned, has an empty text, which no folder can be named "
            "for; give it a value, or make it null, with a transform"
        )
    if value == NULL:
        raise TerminalError(f"column {column!r} has the text {NULL!r}, which readers take for no value")
    shown = NULL if value is None else quote(value, safe=" ")
    # these stand for folders by themselves
    return f"{quote(column, safe=' ')}={shown}"


@dataclass
class Split:
    """The rows of a stream by folder, in scratch. `rows` counts them."""

    columns: Sequence[str]
    scratch: Path
    rows: dict[str, int] = field(default_factory=dict)
    _files: dict[str, list[Path]] = field(default_factory=dict)
    _open: OrderedDict[str, Any] = field(default_factory=OrderedDict)

    @property
    def folders(self) -> list[str]:
        """The folders, in order of their names."""
        return sorted(self._files)

    def take(self, reader: Iterable[pa.RecordBatch]) -> None:
        """Put all rows of the stream into their groups; TerminalError for too many."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.callback(self._close)
            for batch in reader:
                for folder, part in _groups(batch, self.columns):
                    self._writer(folder, part.schema).write_batch(part)
                    self.rows[folder] = self.rows.get(folder, 0) + part.num_rows

    def reader(self, folder: str) -> pa.RecordBatchReader:
        """Return the rows of one folder, without the columns that its name tells."""
        import pyarrow as pa

        paths = self._files[folder]
        with pa.OSFile(str(paths[0]), "rb") as file:
            schema = pa.ipc.open_stream(file).schema
        return pa.RecordBatchReader.from_batches(schema, self._batches(paths))

    def _batches(self, paths: Iterable[Path]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for path in paths:
            with pa.OSFile(str(path), "rb") as file:
                yield from pa.ipc.open_stream(file)
            path.unlink()

    def _writer(self, folder: str, schema: pa.Schema) -> Any:
        import pyarrow as pa

        if folder in self._open:
            self._open.move_to_end(folder)
            return self._open[folder]
        if folder not in self._files and len(self._files) == MOST:
            raise TerminalError(
                f"the rows of this load belong to more than {MOST:,} folders ({', '.join(self.columns)}); partition by "
                "something coarser"
            )
        while len(self._open) >= OPEN:
            self._open.popitem(last=False)[1].close()
        segments = self._files.setdefault(folder, [])
        number = sum(map(len, self._files.values()))
        segments.append(self.scratch / f"{number}.arrow")
        self._open[folder] = pa.ipc.new_stream(str(segments[-1]), schema)
        return self._open[folder]

    def _close(self) -> None:
        for writer in self._open.values():
            writer.close()
        self._open.clear()


def _groups(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield the folders of a batch's rows, and those rows in their order without the folders' columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [pc.cast(batch.column(name), pa.string()) for name in columns]
    keys = pa.table(texts, names=[str(number) for number in range(len(texts))])
    rows = keys.append_column("row", pa.array(range(batch.num_rows), pa.int64()))
    found = rows.group_by(keys.column_names, use_threads=False).aggregate([("row", "list")])
    rest = batch.select([name for name in batch.schema.names if name not in columns])
    for group in found.to_pylist():
        folder = "/".join(folder_name(name, group[str(number)]) for number, name in enumerate(columns))
        yield folder, rest.take(pa.array(group["row_list"], pa.int64()))
