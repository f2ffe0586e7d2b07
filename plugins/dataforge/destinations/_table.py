"""The config that the table destinations share: what merge, replace and the run column do, and where the ledger is."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from dataforge.components.base import DestinationConfig
from dataforge.components.fields import ColumnName, TableName, check_table

RUN_COLUMN = "_dataforge_run"


def _check_schema(text: str) -> str:
    if "." in text:
        raise ValueError(f"{text!r} is not a schema name: it has a '.'")
    return check_table(text)


SchemaName = Annotated[str, AfterValidator(_check_schema)]


class TableConfig(DestinationConfig):
    """Base of the table destinations' configs."""

    table: TableName = Field(
        description="Table to write, as 'table' or 'schema.table'; made from the records' columns when it is missing.",
        examples=["orders", "sales.orders"],
    )
    primary_key: tuple[ColumnName, ...] = Field(
        default=(), description="Columns that tell rows apart; merge needs them.", examples=[["order_id"]]
    )
    merge_strategy: Literal["upsert", "delete_insert", "scd2"] = Field(
        default="upsert",
        description="How merge treats rows whose key is in the table: upsert updates them; delete_insert deletes all "
        "rows of these keys and inserts the new ones; scd2 closes the old version and adds a new one.",
    )
    merge_key: tuple[ColumnName, ...] = Field(
        default=(),
        description="For delete_insert: columns whose values say which rows to delete, in place of primary_key. "
        "Several new rows may have the same, such as all lines of one order.",
        examples=[["order_id"]],
    )
    delete_flag: ColumnName | None = Field(
        default=None,
        description="Column that marks deleted records: where it is true, or is no boolean and not null, merge deletes "
        "the row of that key (scd2 closes it). It is not written to the table.",
        examples=["is_deleted"],
    )
    missing_rows: Literal["keep", "delete"] = Field(
        default="keep",
        description="What merge does with rows whose key is not among the records: delete (scd2: close) is for sources "
        "that are read whole.",
    )
    null_keys: Literal["fail", "dead_letter"] = Field(
        default="fail", description="What merge does with records that have no value in a key column."
    )
    duplicate_keys: Literal["fail", "deduplicate", "dead_letter"] = Field(
        default="fail",
        description="What merge does with records of the same key: deduplicate keeps the last by latest_by; "
        "dead_letter keeps that one and sets the others aside.",
    )
    latest_by: ColumnName | None = Field(
        default=None,
        description="Column by which the last of several records of a key is found; their order when not set. Upsert "
        "leaves a row alone that is newer by it than the record that comes.",
        examples=["updated_at"],
    )
    run_column: ColumnName | None = Field(
        default=RUN_COLUMN,
        description="Column with the number of the run that wrote the row, in tables that append or scd2 make. By it a "
        "repeated run replaces its own rows, and a load can be undone. Null for no such column.",
    )
    valid_from: ColumnName = Field(default="_valid_from", description="For scd2: since when a version is true.")
    valid_to: ColumnName = Field(default="_valid_to", description="For scd2: until when; null while it is.")
    keep_previous: bool = Field(
        default=False,
        description="Whether replace keeps the rows that it replaces in the table <table>__previous, so that the load "
        "can be undone.",
    )
    stage_above: int = Field(
        default=1_000,
        ge=0,
        description="Up to this many rows merge and replace load within their one transaction; above, rows go to a "
        "stage table first, so that locks on the target are short. 0 stages every load of them.",
    )
    stage_append: bool = Field(
        default=False,
        description="Whether append, too, goes to a stage table above stage_above rows, once the table is there: a "
        "third slower, with shorter locks, and a killed load leaves no dead rows in the table. DuckDB and SQLite, "
        "where nobody else can write meanwhile, have no stage tables, and load all dispositions directly.",
    )
    ledger_schema: SchemaName | None = Field(
        default=None,
        description="Schema for the tables in which DataForge keeps cursors, load markers and dead letters; that of "
        "the table when not set.",
    )

    def slot(self) -> str | None:
        """Return the table's place."""
        asset = self.asset()
        return None if asset is None else unquote(asset.removeprefix("dataforge://")).replace("/", ".")

    @model_validator(mode="after")
    def _merge_has_keys(self) -> Self:
        if self.write_disposition != "merge":
            return self
        if self.merge_strategy != "delete_insert" and not self.primary_key:
            raise ValueError(f"merge with strategy {self.merge_strategy!r} needs 'primary_key', the columns of the key")
        if self.merge_strategy == "delete_insert" and not (self.primary_key or self.merge_key):
            raise ValueError("merge with strategy 'delete_insert' needs 'primary_key' or 'merge_key'")
        if self.merge_strategy == "scd2" and self.run_column is None:
            raise ValueError("merge with strategy 'scd2' needs its 'run_column'; leave that key out")
        return self
