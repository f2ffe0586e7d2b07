"""The parquet source: typed columnar files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from dataforge.components.base import ExtractContext, Files
from dataforge.components.registry import SOURCES
from dataforge.errors import Problem, TerminalError
from dataforge.sources._files import FileSourceConfig, local_files, path_problems


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
        paths = local_files(self.config, context)
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
        except duckdb.Error as error:
            raise TerminalError(f"Parquet can't be read: {str(error).splitlines()[0]}") from None
        return {row[0]: row[1] for row in rows}
