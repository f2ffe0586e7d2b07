"""Names that people and models use for what DataForge calls otherwise. Keys are compared in lower case, without `_`."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """Return a name as the tables hold it: lower case, without spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+", "", name).lower()


def _table(rows: dict[str, str]) -> dict[str, str]:
    return {plain(word): name for name, words in rows.items() for word in words.split()}


TOP = _table(
    {
        "dag_id": "name id pipeline pipeline_name pipeline_id dag dag_name dagid job_name",
        "description": "desc doc docs doc_md comment comments summary notes note",
        "schedule": "schedule_interval cron cron_schedule timetable interval frequency trigger when",
        "start_date": "start startdate start_time from_date begin",
        "end_date": "end enddate end_time until to_date",
        "timezone": "tz time_zone tzinfo",
        "catchup": "catch_up backfill",
        "max_active_runs": "max_runs max_concurrent_runs concurrency_limit",
        "tags": "tag labels label",
        "owner": "owners author team maintainer",
        "default_args": "defaults default_arguments task_defaults defaultargs",
        "params": "parameters parameter param variables vars arguments",
        "source": "input extract from reader origin extractor",
        "sources": "inputs readers origins",
        "transforms": "transform transformations transformation steps processing operations transformers",
        "checks": "check validations validation tests quality quality_checks data_quality expectations assertions",
        "destination": "output sink target load to writer destinations outputs sinks targets loader dest",
        "dead_letters": "dead_letter dlq dead_letter_queue rejects",
        "schema_contract": "contract",
        "engine": "backend",
        "execution": "execution_mode run_mode",
    }
)

DEFAULT_ARGS = _table(
    {
        "retries": "retry max_retries retry_count num_retries",
        "retry_delay": "retry_wait retry_interval retry_after delay retry_delay_seconds",
        "retry_exponential_backoff": "exponential_backoff backoff",
        "execution_timeout": "timeout task_timeout max_duration",
        "max_retry_delay": "max_delay retry_max_delay",
        "owner": "owners team author",
        "pool_slots": "slots",
        "priority_weight": "priority weight",
    }
)

OBSOLETE = {
    plain(word): reason
    for reason, words in {
        "Airflow gives tasks their context without it": "provide_context",
        "Airflow 3 has no such setting": "orientation default_view template_searchpath render_template_as_native_obj "
        "template_undefined user_defined_macros user_defined_filters jinja_environment_kwargs sla sla_miss_callback "
        "fail_stop dag_display_name is_paused_upon_creation wait_for_downstream ignore_first_depends_on_past "
        "trigger_rule weight_rule do_xcom_push access_control task_concurrency max_active_tis_per_dag concurrency "
        "max_active_tasks dagrun_timeout executor_config email_on_failure email_on_retry email run_as_user resources "
        "on_failure_callback on_success_callback on_retry_callback auto_register doc_rst doc_json doc_yaml",
        "it says nothing that DataForge reads": "version config_version api_version _comment __comment__ comment _note "
        "_notes note notes // # $comment _id kind metadata meta",
    }.items()
    for word in words.split()
}
"""Keys that may go, with the reason."""

_CONNECTION = (
    "conn conn_id connection_id connectionid connection_name connid airflow_connection airflow_conn_id airflow_conn "
    "postgres_conn_id http_conn_id aws_conn_id gcp_conn_id mysql_conn_id database_connection db_connection "
    "credentials_id"
)
_TABLE = "table_name tablename sql_table target_table source_table table_id relation destination_table db_table"
_PATH = (
    "path_or_url file filepath file_path filename file_name files location uri url source_path glob output_path "
    "target_path path_name input_path pattern file_pattern output_file"
)
_CURSOR = (
    "cursor cursor_column incremental_column incremental_field incremental_key watermark watermark_column updated_at "
    "replication_key updated_at_column cursor_key incremental tracking_column bookmark"
)
_DISPOSITION = (
    "mode write_mode if_exists disposition load_mode write_strategy load_strategy load_type insert_mode on_conflict "
    "materialization write_type write_method write strategy behavior load_method action save_mode"
)
_KEYS = (
    "keys key primary_keys pk unique_key unique_keys upsert_keys upsert_key conflict_columns id_columns merge_keys "
    "id_column primarykey key_columns conflict_keys"
)
_COLUMNS = "column cols col fields field names column_names field_names"
_MAPPING = "mapping map columns_map mappings column_mapping column_map fields"

_SOURCE = {
    "connection": _CONNECTION,
    "table": _TABLE,
    "query": "sql statement select sql_query query_text",
    "path": _PATH,
    "cursor_field": _CURSOR,
    "initial_value": "start_value initial initial_cursor cursor_start start_from initial_cursor_value from_value",
    "lookback": "lookback_window overlap look_back lag",
    "columns": "schema dtypes column_types types dtype",
    "delimiter": "delim separator sep field_delimiter field_separator column_separator",
    "quote": "quotechar quote_char quotation",
    "escape": "escapechar escape_char",
    "header": "has_header first_row_header headers include_header header_row",
    "null_values": "na_values nulls null_value null nullstr na missing_values null_strings",
    "skip_rows": "skiprows skip_lines skip skip_header",
    "encoding": "charset character_set codec",
    "comment": "comment_char",
    "compression": "compress codec_name",
    "records": "record_path data_path records_path root data_key json_path data_selector items results_key record_key",
    "statement_timeout": "timeout query_timeout",
    "batch_rows": "batch_size chunksize chunk_size fetch_size",
    "format": "file_format json_format",
}
_HTTP = {
    "endpoint": "path url uri route resource location api_path end_point",
    "query": "params query_params parameters querystring query_string",
    "method": "verb http_method",
    "headers": "header http_headers",
    "body": "payload data json request_body",
    "pagination": "paginate paging paginator pages",
    "requests_per_second": "rate_limit rps max_rps",
    "timeout": "request_timeout timeout_seconds",
    "max_pages": "page_limit",
}
_DESTINATION = {
    "connection": _CONNECTION,
    "table": _TABLE,
    "path": _PATH,
    "write_disposition": _DISPOSITION,
    "primary_key": _KEYS,
    "merge_strategy": "strategy merge_method merge_type",
    "database": "db db_file database_path file database_file db_path dbname",
    "delete_flag": "deleted_flag delete_column soft_delete deleted_column",
    "latest_by": "order_by newest_by dedup_by version_column",
    "schema_contract": "contract schema_evolution",
    "null_text": "null na_rep null_value nulls",
    "delimiter": "delim separator sep field_delimiter",
    "header": "has_header include_header headers write_header",
    "quote": "quotechar quote_char",
    "compression": "compress codec",
    "batch_rows": "batch_size chunksize chunk_size",
    "create_schema": "create_schema_if_not_exists",
}
_STEPS = {
    "filter": {"where": "condition expression predicate expr sql filter query conditions criteria"},
    "rename": {"columns": f"{_MAPPING} rename renames names"},
    "cast": {"columns": f"{_MAPPING} types schema dtypes casts column_types", "on_error": "errors error on_failure"},
    "derive": {"columns": f"{_MAPPING} expressions new_columns column computed derived expression values"},
    "select": {"columns": f"{_COLUMNS} keep select include"},
    "drop": {"columns": f"{_COLUMNS} drop remove exclude"},
    "fill_null": {"columns": f"{_MAPPING} values fill value defaults default fill_values"},
    "mask": {"columns": f"{_MAPPING} methods rules field cols mask"},
    "deduplicate": {
        "keys": f"{_COLUMNS} columns key subset by primary_key unique_key on unique partition_by",
        "order_by": "sort_by order orderby sort latest_by keep_latest_by",
    },
    "sort": {"by": f"order_by orderby columns keys order sort_by sort {_COLUMNS}"},
    "limit": {"count": "n rows limit max_rows size num number top", "offset": "skip start"},
    "aggregate": {
        "group_by": "groupby by group keys dimensions group_keys groups",
        "columns": "aggregations aggs aggregates metrics measures agg aggregation functions expressions",
    },
    "join": {
        "with": "right other table source to join_with right_source with_source other_source",
        "on": "keys key by using join_keys join_on left_on",
        "how": "join_type kind mode method join",
        "columns": "select fields include",
    },
    "union": {"with": "inputs sources others tables union"},
    "sql": {"query": "sql statement expression select"},
}
_CHECKS = {
    "not_null": {"columns": f"{_COLUMNS}"},
    "unique": {"columns": f"{_COLUMNS} keys key"},
    "range": {
        "column": "field col columns name",
        "min": "minimum ge gte lower low from min_value at_least",
        "max": "maximum le lte upper high to max_value at_most",
        "exclusive": "strict",
    },
    "accepted_values": {
        "column": "field col columns name",
        "values": "accepted allowed choices options enum allowed_values accepted_values list",
    },
    "row_count": {
        "min": "minimum min_rows at_least min_count lower greater_than",
        "max": "maximum max_rows at_most max_count upper",
    },
    "expression": {"expression": "condition where sql expr check rule predicate", "message": "description error"},
}
_ANY_STEP = {"input": "from source_name read_from inputs source", "name": "id step step_name alias as output label"}
_ANY_CHECK = {"severity": "level on_fail on_failure action mode type_of_failure"}


def keys_of(kind: str, type_: str) -> dict[str, tuple[str, ...]]:
    """Return what other names of keys may mean in a component: plain name to the keys, the likeliest first."""
    tables: list[dict[str, str]] = []
    if kind == "source":
        tables = [*([_HTTP] if type_ == "http" else []), _SOURCE]
    elif kind == "destination":
        tables = [_DESTINATION]
    elif kind == "transform":
        tables = [_STEPS.get(type_, {}), _ANY_STEP]
    elif kind == "check":
        tables = [_CHECKS.get(type_, {}), _ANY_CHECK]
    found: dict[str, tuple[str, ...]] = {}
    for table in tables:
        for name, words in table.items():
            for word in words.split():
                found[plain(word)] = (*found.get(plain(word), ()), name)
    return found


TYPES: dict[str, dict[str, str]] = {
    "source": _table(
        {
            "postgres": "postgresql pg postgres_table postgres_query postgresql_table psql postgres_sql pgsql",
            "sql": "sql_table sql_query database db jdbc sqlite "
            "bigquery redshift relational rdbms odbc sqlalchemy table query sql_database",
            "mysql": "mariadb mysql_table mysql_query mysqldb",
            "mssql": "sqlserver sql_server mssql_table azure_sql",
            "oracle": "oracledb oracle_table oracle_db",
            "snowflake": "snowflake_table snowflake_query",
            "clickhouse": "clickhouse_table clickhouse_query clickhouse_db",
            "http": "rest api rest_api http_api https url web httpapi http_json restapi webservice json_api",
            "csv": "csv_file tsv text_file csvfile delimited local_csv csv_files s3_csv csv_local flatfile",
            "json": "jsonl ndjson json_lines json_file jsonlines json_files newline_delimited_json",
            "parquet": "parquet_file pq parquetfile parquet_files parq",
        }
    ),
    "destination": _table(
        {
            "postgres": "postgresql pg postgres_table postgresql_table psql pgsql postgres_db",
            "duckdb": "duck duckdb_table duckdb_file duck_db duckdb_database",
            "sql": "sql_table database db oracle sqlite bigquery redshift jdbc",
            "mysql": "mariadb mysql_table mysqldb",
            "mssql": "sqlserver sql_server mssql_table azure_sql",
            "snowflake": "snowflake_table",
            "ndjson": "jsonl json json_lines json_file jsonlines jsonfile",
            "csv": "csv_file tsv csvfile csv_local local_csv",
            "parquet": "parquet_file pq parquetfile parq",
        }
    ),
    "transform": _table(
        {
            "filter": "where filter_rows row_filter filtering filter_by having keep_rows",
            "deduplicate": "dedup dedupe drop_duplicates distinct unique deduplication remove_duplicates de_duplicate",
            "aggregate": "group_by groupby group agg aggregation summarize summarise aggregations summary",
            "derive": "compute add_column add_columns calculate calculated with_columns with_column computed map "
            "assign mutate formula expression derived derive_columns new_column computed_column add_field "
            "calculated_field",
            "rename": "rename_columns rename_column rename_fields renaming renames",
            "sort": "order_by order sort_by orderby sorting",
            "limit": "head top take first limit_rows",
            "select": "keep project columns select_columns projection keep_columns pick choose select_fields",
            "drop": "remove remove_columns drop_columns exclude delete_columns drop_column drop_fields delete",
            "cast": "convert astype type_cast change_type cast_types typecast cast_columns convert_types types",
            "fill_null": "fillna fill coalesce default_values impute fill_nulls fill_na replace_nulls fillnull",
            "mask": "hash anonymize anonymise redact pseudonymize mask_columns obfuscate masking encrypt mask_pii",
            "union": "concat append union_all stack concatenate",
            "join": "merge lookup enrich left_join inner_join join_tables",
            "sql": "query sql_query custom_sql sql_transform duckdb_sql",
        }
    ),
    "check": _table(
        {
            "not_null": "notnull non_null no_nulls required is_not_null null_check not_nulls nonnull not_empty",
            "unique": "uniqueness no_duplicates unique_key primary_key unique_columns is_unique unique_check distinct",
            "range": "between min_max bounds in_range value_range range_check",
            "accepted_values": "enum in in_set one_of allowed_values values_in valid_values isin allowed",
            "row_count": "count rows rowcount volume min_rows rows_count table_row_count number_of_rows",
            "expression": "sql custom condition assert assertion sql_expression rule where",
        }
    ),
}
"""Other names of component types, by kind."""

DISPOSITIONS = _table(
    {
        "replace": "overwrite truncate full_refresh full truncate_insert truncate_and_load full_load replace_all "
        "truncate_append drop_and_create recreate refresh reload rewrite overwrite_table create_or_replace drop",
        "merge": "upsert update insert_or_update merge_upsert insert_update upserts on_conflict_update "
        "update_or_insert insert_on_conflict merge_into",
        "append": "insert add append_only insert_only insert_into appending incremental_append adding load",
    }
)

CHOICES: dict[str, dict[str, str]] = {
    "write_disposition": DISPOSITIONS,
    "how": _table(
        {
            "left": "left_outer leftouter left_join outer_left",
            "right": "right_outer rightouter right_join",
            "full": "outer full_outer fullouter outer_join full_join",
            "inner": "inner_join natural equi",
            "semi": "left_semi exists",
            "anti": "left_anti not_exists",
        }
    ),
    "compression": _table(
        {"gzip": "gz gunzip .gz gzipped", "zstd": "zst zstandard", "bz2": "bzip2 bzip", "none": "no off"}
    ),
    "severity": _table(
        {
            "fail": "error critical fatal stop abort raise block",
            "warn": "warning info log notice",
            "reject": "quarantine drop discard dead_letter skip",
        }
    ),
    "execution": _table({"fused": "stream streaming single one_task pipelined", "staged": "batch three_tasks stages"}),
    "method": _table({"GET": "get fetch read", "POST": "post"}),
    "on_error": _table({"null": "nullify coerce set_null ignore none", "fail": "raise error stop abort"}),
    "null_cursor": _table({"skip": "ignore drop", "fail": "error raise", "dead_letter": "reject quarantine"}),
    "null_keys": _table({"fail": "error raise", "dead_letter": "reject quarantine skip"}),
    "duplicate_keys": _table(
        {"fail": "error raise", "deduplicate": "dedupe dedup drop latest", "dead_letter": "reject"}
    ),
    "missing_rows": _table({"keep": "ignore retain", "delete": "remove drop hard_delete"}),
    "merge_strategy": _table(
        {
            "upsert": "update merge",
            "delete_insert": "delete+insert deleteinsert",
            "scd2": "scd_2 scdtype2 type2 scd_type_2 history slowly_changing",
        }
    ),
    "replace_method": _table({"truncate": "truncate_insert", "delete": "delete_insert", "swap": "rename atomic"}),
    "format": _table({"newline_delimited": "ndjson jsonl lines json_lines jsonlines", "array": "list json"}),
    "engine": _table({"duckdb": "duck embedded local default"}),
    "schema_contract": _table({"evolve": "evolution auto add_columns flexible", "freeze": "frozen strict fixed fail"}),
}
"""Other names of values, by key."""

PARAM_TYPES = _table(
    {
        "string": "str text varchar char",
        "integer": "int bigint long int64 whole",
        "number": "float double decimal numeric real",
        "boolean": "bool flag",
        "datetime": "timestamp date_time",
        "date": "day",
    }
)

MASKS = _table(
    {"hash": "sha256 sha md5 hashed", "null": "none remove nullify", "redact": "mask masked hide stars asterisks"}
)

SQL_TYPES = _table(
    {
        "text": "str string object char nvarchar unicode longtext",
        "bigint": "int64 long long_integer uint32",
        "integer": "int32 int4 number_integer signed whole",
        "double": "float64 double_precision float8 real8",
        "decimal(38,9)": "number money currency bignumeric",
        "boolean": "bool bit flag logical",
        "timestamp": "datetime datetime64 timestamp_ntz date_time datetime64[ns] timestamp_without_time_zone datetime2",
        "timestamptz": "timestamp_tz timestamp_ltz timestamp_with_timezone datetimeoffset",
        "date": "day date32",
        "blob": "binary bytes varbinary",
    }
)

FUNCTIONS = _table(
    {
        "coalesce": "ifnull nvl isnull",
        "length": "len char_length strlen",
        "upper": "ucase toupper uppercase to_upper",
        "lower": "lcase tolower lowercase to_lower",
        "trim": "strip",
        "avg": "average mean",
        "count": "cnt",
        "substring": "mid substr",
        "round": "rnd",
        "strptime": "to_date to_timestamp parse_date parse_datetime str_to_date",
        "strftime": "date_format format_date to_char",
    }
)

CONNECTION_TYPES = {
    "postgres": ("postgres", "postgresql"),
    "http": ("http", "https"),
    "mysql": ("mysql",),
    "mssql": ("mssql",),
    "oracle": ("oracle",),
    "snowflake": ("snowflake",),
    "clickhouse": ("clickhouse",),
    "sql": ("mysql", "mssql", "oracle", "sqlite", "snowflake", "redshift", "generic", "jdbc", "odbc", "postgres"),
}
"""Types of Airflow connections that a component takes."""
