"""From the DAGs of a dag-factory file (YAML) to pipelines, for those tasks that move rows.

Tasks of other kinds, code and templates become gaps: a config can't hold them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dataforge.errors import ConfigError, Problem
from dataforge.imports.documents import dag_id, read_document
from dataforge.imports.gaps import Gap, Imported

Node = dict[str, Any]
_SQL_OPERATORS = ("SQLExecuteQueryOperator", "PostgresOperator", "MySqlOperator", "SnowflakeOperator", "SqliteOperator")
_ARGS = ("owner", "retries", "pool", "queue", "priority_weight", "depends_on_past", "retry_exponential_backoff")
_SECONDS = {"retry_delay_sec": "retry_delay", "execution_timeout_secs": "execution_timeout"}
_TEMPLATES = {
    "ds": "${data_interval_start:%Y-%m-%d}",
    "data_interval_start": "${data_interval_start}",
    "data_interval_end": "${data_interval_end}",
}
_TAKEN = {"default_args", "schedule", "schedule_interval", "description", "catchup", "max_active_runs", "tags", "tasks",
          "start_date", "end_date", "timezone"}  # fmt: skip


def convert(text: str, *, file: Path) -> Imported:
    """Return a config for each task that moves rows, and every gap."""
    document = read_document(text, file)
    defaults = document.get("default")
    gaps: list[Gap] = []
    configs: list[Node] = []
    for name, dag in document.items():
        if name == "default" or not isinstance(dag, dict) or "tasks" not in dag:
            continue
        whole = _under(defaults if isinstance(defaults, dict) else {}, dag)
        configs += _Dag(name, whole, gaps).configs()
    if not configs and not gaps:
        raise ConfigError(Problem("wrong-type", f"{file.name!r} describes no DAG: no key holds an object with 'tasks'"))
    return Imported(tuple(configs), tuple(gaps))


class _Dag:
    """One DAG on its way."""

    def __init__(self, name: str, dag: Node, gaps: list[Gap]) -> None:
        self.name, self.dag, self.gaps = name, dag, gaps
        listed = dag["tasks"]
        if isinstance(listed, list):
            listed = {
                str(task.get("task_id", index)): task for index, task in enumerate(listed) if isinstance(task, dict)
            }
        self.tasks: dict[str, Node] = {name: task for name, task in listed.items() if isinstance(task, dict)}

    def gap(self, place: str, what: str, remedy: str) -> None:
        self.gaps.append(Gap(f"{self.name}/{place}" if place else self.name, what[:500], remedy))

    def configs(self) -> list[Node]:
        for key in sorted(set(self.dag) - _TAKEN):
            self.gap(key, f"{key!r} of the DAG", "say it by hand, or in the deployment")
        moved = {name: found for name, task in self.tasks.items() if (found := self._moved(name, task)) is not None}
        head = self._head()
        configs = []
        for name, (source, target) in moved.items():
            config = {**head, "dag_id": dag_id(self.name) if len(self.tasks) == 1 else dag_id(self.name, name)}
            if asset := self._upstream(name, moved):
                config["schedule"] = asset
            configs.append({**config, "source": source, "destination": target})
        return configs

    def _upstream(self, name: str, moved: dict[str, tuple[Node, Node]]) -> Node | None:
        """Return the schedule of a task that waits for others: their assets."""
        assets = []
        for other in self.tasks[name].get("dependencies") or []:
            if other in moved:
                target = moved[other][1]
                assets.append({"asset": f"{target['connection']}/{target['table']}"})
            else:
                self.gap(
                    f"tasks/{name}", f"it waits for {other!r}, which is no pipeline", "start it by that task's asset"
                )
        if len(assets) > 1:
            return {"all": assets}
        return assets[0] if assets else None

    def _head(self) -> Node:
        args = self.dag.get("default_args") or {}
        found: Node = {"dag_id": self.name}
        if self.dag.get("description"):
            found["description"] = str(self.dag["description"])
        schedule = self.dag.get("schedule", self.dag.get("schedule_interval"))
        if schedule is not None and not isinstance(schedule, str):
            self.gap("schedule", "a schedule that is no text", "write a cron expression, a preset or assets")
            schedule = None
        found["schedule"] = None if schedule in (None, "None") else schedule
        start = args.get("start_date", self.dag.get("start_date"))
        if start is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ].*)?", str(start)):
            found["start_date"] = str(start).replace(" ", "T")
        elif start is not None:
            self.gap("default_args/start_date", f"the start {start!r} is no date", "write it like '2025-01-31'")
        for key in ("catchup", "max_active_runs", "tags"):
            if self.dag.get(key) is not None:
                found[key] = self.dag[key]
        ours = {key: args[key] for key in _ARGS if args.get(key) is not None}
        for key, name in _SECONDS.items():
            if args.get(key) is not None:
                ours[name] = f"{args[key]}s"
        if isinstance(args.get("retry_delay"), int | float):
            ours["retry_delay"] = f"{args['retry_delay']}s"
        if ours:
            found["default_args"] = ours
        for key in sorted(set(args) - {*_ARGS, *_SECONDS, "start_date", "retry_delay"}):
            self.gap(
                f"default_args/{key}", f"the default argument {key!r}", "leave it out, or set it in the deployment"
            )
        return found

    def _moved(self, name: str, task: Node) -> tuple[Node, Node] | None:
        """Return source and destination of a task that moves rows; None, with a gap, for all others."""
        operator = str(task.get("operator") or task.get("decorator") or "?").rsplit(".", 1)[-1]
        place = f"tasks/{name}"
        if operator == "GenericTransfer":
            return self._transfer(place, task)
        if operator in _SQL_OPERATORS:
            return self._insert(place, operator, task)
        self.gap(place, f"a task of {operator}", "no source and destination tell what it does; keep it in its DAG")
        return None

    def _transfer(self, place: str, task: Node) -> tuple[Node, Node] | None:
        query = self._query(place, str(task.get("sql", "")))
        if query is None:
            return None
        if task.get("preoperator"):
            self.gap(
                place, "a statement before the transfer", "write_disposition 'replace' empties the table by itself"
            )
        source = {"type": "sql", "connection": str(task.get("source_conn_id")), "query": query}
        target = {"type": "sql", "connection": str(task.get("destination_conn_id")),
                  "table": str(task.get("destination_table")), "write_disposition": "append"}  # fmt: skip
        return source, target

    def _insert(self, place: str, operator: str, task: Node) -> tuple[Node, Node] | None:
        import sqlglot
        from sqlglot import exp

        dialect = "postgres" if operator == "PostgresOperator" else None
        kind = "postgres" if operator == "PostgresOperator" else "sql"
        connection = str(task.get("conn_id") or task.get("postgres_conn_id") or task.get("mysql_conn_id") or "database")
        text = self._query(place, str(task.get("sql", "")))
        if text is None:
            return None
        try:
            trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
        except (sqlglot.errors.SqlglotError, RecursionError):
            trees = []
        emptied = ""
        if len(trees) == 2 and isinstance(trees[0], exp.Delete | exp.TruncateTable):
            table = trees[0].find(exp.Table)
            if not trees[0].args.get("where") and table is not None:
                emptied = _table(table)
                trees = trees[1:]
        tree = trees[0] if len(trees) == 1 else None
        if isinstance(tree, exp.Insert) and isinstance(tree.expression, exp.Query):
            into = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
            if isinstance(tree.this, exp.Schema):
                self.gap(place, "the INSERT names its columns", "name them alike in the query")
            table_ = _table(into)
            disposition = "replace" if emptied == table_ else "append"
            query = tree.expression.sql(dialect, pretty=True)
        elif isinstance(tree, exp.Create) and isinstance(tree.expression, exp.Query):
            table_, disposition, query = _table(tree.this), "replace", tree.expression.sql(dialect, pretty=True)
        else:
            self.gap(place, "SQL that is no INSERT … SELECT and no CREATE TABLE … AS", "keep it in its DAG")
            return None
        source = {"type": kind, "connection": connection, "query": query}
        return source, {"type": kind, "connection": connection, "table": table_, "write_disposition": disposition}

    def _query(self, place: str, text: str) -> str | None:
        if not text or text.rstrip().endswith(".sql"):
            self.gap(place, "the SQL stands in a file of its own", "put it into 'query'")
            return None
        for template, ours in _TEMPLATES.items():
            text = re.sub(rf"'?\{{\{{\s*{template}\s*\}}\}}'?", f" {ours} ".replace("\\", "\\\\"), text)
        if "{{" in text or "{%" in text:
            self.gap(place, "a Jinja template in the SQL", "write it with ${params.…} and ${data_interval_start}")
            return None
        if "${" in text and ("INSERT" in text.upper() or "CREATE" in text.upper()):
            self.gap(place, "a template in a statement that writes", "write the query with ${data_interval_start}")
            return None
        return text.strip().rstrip(";")


def _table(node: Any) -> str:
    return ".".join(part for part in (node.db, node.name) if part)


def _under(defaults: Node, dag: Node) -> Node:
    """Return a DAG with the file's defaults below it; those of `default_args` one by one."""
    args = {**(defaults.get("default_args") or {}), **(dag.get("default_args") or {})}
    return {**defaults, **dag, **({"default_args": args} if args else {})}
