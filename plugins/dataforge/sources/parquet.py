"""The parquet source: typed columnar files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dataforge.components.base import ExtractContext, Files
from dataforge.components.registry import SOURCES
from dataforge.components.wide_decimals import held_schema
from dataforge.errors import Problem, TerminalError
from dataforge.sources._files import FileSourceConfig, local_files, path_problems

if TYPE_CHECKING:
    import duckdb


class ParquetConfig(FileSourceConfig):
    """Config of the parquet source."""

    type: Literal["parquet"] = "parquet"


@SOURCES.register(ParquetConfig)
class ParquetSource:
    """Reads Parquet files: by path, glob or S3 key; several are read as one, columns matched by name."""

    def __init__(self, config: ParquetConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the files."""
        return self.read(local_files(self.config, context), context)

    def read(self, paths: Iterable[Path], context: ExtractContext) -> Files:  # noqa: ARG002 - as other formats have it
        """Return these files, which are local and not compressed."""
        paths = tuple(paths)
        for path in paths:
            with path.open("rb") as file:
                if file.read(4) != b"PAR1":
                    raise TerminalError(f"{path.name} is no Parquet file: it does not begin with PAR1")
        return Files("parquet", paths)

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the paths as they stand."""
        return path_problems(self.config)

    def check(self, context: ExtractContext) -> str:
        """Return how many files there are."""
        return f"{len(self.extract(context).paths)} Parquet file(s)"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns of all files together."""
        import duckdb

        paths = [str(path) for path in self.extract(context).paths]
        try:
            with duckdb.connect(config={"threads": 1}) as con:
                rows = con.execute(
                    "DESCRIBE SELECT * FROM read_parquet($paths, union_by_name = true)", {"paths": paths}
                ).fetchall()
                return {**{row[0]: row[1] for row in rows}, **_wide(con, paths)}
        except duckdb.Error as error:
            raise TerminalError(f"Parquet can't be read: {str(error).splitlines()[0]}") from None


def _wide(con: duckdb.DuckDBPyConnection, paths: list[str]) -> dict[str, str]:
    """Return the columns with decimals that the engine does not have, and the types that they get."""
    import pyarrow.parquet as pq

    found: dict[str, str] = {}
    query = "SELECT DISTINCT file_name FROM parquet_schema($paths) WHERE precision > 38"
    for (path,) in con.execute(query, {"paths": paths}).fetchall():
        schema = pq.read_schema(path)
        held = held_schema(schema)
        changed = {field.name for field, now in zip(schema, held, strict=True) if field.type != now.type}
        con.register("held", held.empty_table())
        found |= {row[0]: row[1] for row in con.execute('DESCRIBE "held"').fetchall() if row[0] in changed}
    return found
