"""What a deployment decides, read once: Airflow's section [dataforge] and the environment variables that stand for it.

`AIRFLOW__DATAFORGE__STAGING_URL` beats `staging_url` in the section `[dataforge]` of airflow.cfg, as everywhere in
Airflow. Both are read here without importing Airflow, whose import takes seconds that a command line tool can't spare.
"""

from __future__ import annotations

import os
import re
from configparser import ConfigParser, Error
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataforge.errors import ConfigError, Problem

ENV_PREFIX = "AIRFLOW__DATAFORGE__"


def airflow_home() -> Path:
    """Return Airflow's home folder, by Airflow's own rule."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser().absolute()


class Settings(BaseModel):
    """One value for every decision of the deployment. Folders are absolute; relative ones hang below Airflow's home."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    configs_folder: Path = Field(
        default_factory=lambda: airflow_home() / "configs", description="The watched folder of pipeline configs."
    )
    data_folders: tuple[Path, ...] = Field(
        default=(),
        description="Folders that path sources may read, colon-separated. The configs folder and the output folder "
        "are always among them. Relative paths in configs are looked up in this order.",
    )
    output_folder: Path = Field(
        default_factory=lambda: airflow_home() / "dataforge" / "output",
        description="The folder below which file and DuckDB destinations write.",
    )
    staging_url: str = Field(
        default_factory=lambda: f"file://{airflow_home()}/dataforge/staging",
        description="Where batches wait between tasks: a file:// or s3:// URL that all workers reach.",
    )
    staging_connection: str | None = Field(
        default=None, description="Airflow connection (type aws) with the keys and endpoint of an s3:// staging URL."
    )
    staging_retention_hours: float = Field(
        default=72, gt=0, description="Age in hours after which left-over staging and scratch folders are removed."
    )
    scratch_folder: Path | None = Field(
        default=None, description="Local folder for spill and temporary files; the system's own when not set."
    )
    memory_limit_mb: int = Field(default=192, ge=64, description="Memory of the embedded engine, in MiB, per task.")
    threads: int = Field(default=2, ge=1, description="Threads of the embedded engine, per task.")
    preload: bool = Field(
        default=True,
        description="Whether a scheduler imports what tasks need before it forks the LocalExecutor's workers, so that "
        "no task has to: about 40 MiB, shared by all of them.",
    )
    shard_above: int = Field(
        default=50, ge=1, description="Above this number of configs the bundle packs several into one DAG file."
    )
    max_config_bytes: int = Field(default=1_000_000, ge=1_000, description="Largest accepted config file, in bytes.")
    max_response_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1_000, description="Largest accepted single HTTP answer after decompression."
    )
    connect_seconds: float = Field(
        default=30,
        ge=0,
        description="How long a task tries to reach a server that is away, in seconds, before the task itself is "
        "tried again later; 0 for one try.",
    )
    stall_seconds: float = Field(
        default=3_600,
        ge=0,
        description="Longest time in seconds that one statement or one call to an object store may show no progress, "
        "before its connection is cut and the task tried again; 0 for no limit.",
    )
    breaker_failures: int = Field(
        default=5,
        ge=1,
        description="After so many failures in a row to reach a connection's server, tasks leave it alone for a while.",
    )
    breaker_seconds: float = Field(
        default=60,
        ge=0,
        description="For how long tasks leave a server alone, in seconds; then one task tries it. 0 for never.",
    )
    target_pools: bool = Field(
        default=True,
        description="Whether load tasks that write the same DuckDB file or the same table wait for each other, in "
        "Airflow pools of one slot that DataForge makes. A pool that the config names goes first.",
    )
    reconcile_days: float = Field(
        default=7, gt=0, description="For how many days back the maintenance DAG compares loads with their markers."
    )
    reconcile_fails: bool = Field(
        default=False, description="Whether its task fails when they differ; else it warns in its log."
    )
    allow_private_hosts: bool = Field(
        default=True,
        description="Whether HTTP connections may lead to loopback and private addresses. Link-local metadata "
        "addresses are always refused.",
    )

    llm_chain: tuple[str, ...] = Field(
        default=(),
        description="Language models to use, comma-separated, each `connection` or `connection/model`: the first that "
        "answers is taken. When not set, Ollama on this machine.",
    )
    llm_author: tuple[str, ...] = Field(default=(), description="The same for authoring only.")
    llm_refine: tuple[str, ...] = Field(default=(), description="The same for refining only.")
    llm_repair: tuple[str, ...] = Field(default=(), description="The same for repairing only.")
    llm_explain: tuple[str, ...] = Field(default=(), description="The same for explaining only.")
    llm_transform: tuple[str, ...] = Field(default=(), description="The same for ai steps of pipelines only.")
    llm_first_token_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Longest wait for the first token of a model, in seconds. When not set: 20, and 60 for Ollama, "
        "which may have to load the model and to read the prompt on a CPU. A connection's own value goes first.",
    )
    llm_idle_seconds: float = Field(
        default=15, gt=0, description="Longest silence of a model within an answer, in seconds."
    )
    llm_total_seconds: float = Field(
        default=120, gt=0, description="Longest time of one answer with all its tries, in seconds."
    )
    llm_attempts: int = Field(default=3, ge=1, description="How often one server is tried before the next one is.")
    llm_concurrency: int = Field(default=4, ge=1, description="Calls of one connection at a time, per process.")
    llm_tokens_per_call: int = Field(default=100_000, ge=0, description="Largest call, in tokens; 0 for no limit.")
    llm_tokens_per_request: int = Field(
        default=300_000, ge=0, description="Most tokens that one wish of a person may use, repairs included; 0 for all."
    )
    llm_tokens_per_user_day: int = Field(
        default=0, ge=0, description="Most tokens of one person in a day (UTC); 0 for all."
    )
    llm_tokens_per_user_month: int = Field(
        default=0, ge=0, description="Most tokens of one person in a month (UTC); 0 for all."
    )
    llm_tokens_per_month: int = Field(default=0, ge=0, description="Most tokens of everybody in a month; 0 for all.")
    llm_cost_per_call: float = Field(default=0, ge=0, description="Most that one call may cost; 0 for no limit.")
    llm_cost_per_request: float = Field(default=0, ge=0, description="Most that one wish may cost; 0 for no limit.")
    llm_cost_per_user_day: float = Field(
        default=0, ge=0, description="Most that one person may spend in a day; 0 for all."
    )
    llm_cost_per_user_month: float = Field(
        default=0, ge=0, description="Most that one person may spend in a month; 0 for all."
    )
    llm_cost_per_month: float = Field(
        default=0, ge=0, description="Most that everybody may spend in a month; 0 for all."
    )
    llm_withhold_personal: bool = Field(
        default=True,
        description="Whether personal data (e-mail, phone, IBAN, card, identity and IP numbers) is replaced before "
        "anything goes to a model, and put back into its answer. Secrets always stay here.",
    )
    llm_cache_hours: float = Field(
        default=24, ge=0, description="For how long answers are kept for equal requests; 0: not."
    )
    llm_cache_mb: int = Field(default=64, ge=1, description="Size of that cache, in MiB.")
    llm_cache_url: str = Field(
        default="",
        description="redis://, rediss:// or valkey:// URL of the cache; a file below Airflow's home when not set.",
    )
    llm_reuse_similar: bool = Field(
        default=False,
        description="Whether an answer is also given to other words of the same person: when every value that can be "
        "read from them is the same, and the words are alike.",
    )
    llm_embed: str = Field(
        default="",
        description="Model that ranks examples and finds similar pipelines, as `connection/model`, such as "
        "`ollama/nomic-embed-text`; words are compared when not set.",
    )
    llm_sample_rows: bool = Field(
        default=False,
        description="Whether sample rows, and the least and greatest values of columns, may be shown to models when a "
        "request asks for it. Private columns are masked.",
    )

    store_url: str | None = Field(
        default=None,
        description="Database for revisions, audit and chats: an SQLAlchemy URL of SQLite or PostgreSQL; the file "
        "dataforge/dataforge.db below Airflow's home when not set.",
    )
    deploy_git: bool = Field(
        default=False,
        description="Whether each deployed config is also committed to the Git repository of the configs folder.",
    )
    mcp_allow_write: bool = Field(
        default=False,
        description="Whether assistants that use `dataforge mcp` may deploy configs and roll them back, not only read.",
    )

    deploy_approval: bool = Field(
        default=False,
        description="Whether a deploy or rollback waits until another person who may edit the DAG has approved it.",
    )
    uploads_url: str = Field(
        default_factory=lambda: f"file://{airflow_home()}/dataforge/uploads",
        description="Where uploaded sample files are kept: a file:// or s3:// URL (with staging_connection).",
    )
    uploads_days: float = Field(default=30, gt=0, description="Age in days after which uploaded files are removed.")
    limits_url: str = Field(
        default="",
        description="redis://, rediss:// or valkey:// URL of the server that counts requests; the store does when "
        "not set.",
    )

    web_window_seconds: int = Field(
        default=900, ge=1, description="The time, in seconds, within which the web API counts a person's requests."
    )
    web_requests: int = Field(default=100, ge=0, description="Requests of one person in that time; 0 for no limit.")
    web_generates: int = Field(
        default=10, ge=0, description="Generations that one person may begin in that time; 0 for no limit."
    )
    web_refines: int = Field(
        default=20, ge=0, description="Refinements, repairs and explanations likewise; 0 for no limit."
    )
    web_jobs_per_user: int = Field(default=2, ge=1, description="Jobs of one person at work at the same time.")
    web_jobs: int = Field(default=4, ge=1, description="Jobs at work at the same time in one process.")

    @property
    def readable_folders(self) -> tuple[Path, ...]:
        """All folders that path sources may read, in look-up order."""
        return (*self.data_folders, self.configs_folder, self.output_folder)


def from_mapping(values: dict[str, str]) -> Settings:
    """Build settings from option names and texts, as they stand in airflow.cfg or the environment."""
    parsed: dict[str, object] = {name: value for name, value in values.items() if value != ""}
    if "data_folders" in parsed:
        parsed["data_folders"] = tuple(_folder(part) for part in str(parsed["data_folders"]).split(":") if part)
    for name in ("llm_chain", "llm_author", "llm_refine", "llm_repair", "llm_explain", "llm_transform"):
        if name in parsed:
            parsed[name] = tuple(part.strip() for part in str(parsed[name]).split(",") if part.strip())
    for name in ("configs_folder", "output_folder", "scratch_folder"):
        if name in parsed:
            parsed[name] = _folder(str(parsed[name]))
    return Settings.model_validate(parsed)


@cache
def get_settings() -> Settings:
    """Return the deployment's settings; read once per process (`get_settings.cache_clear()` reads them again)."""
    try:
        return from_mapping({**_config_section("dataforge"), **_environment()})
    except ValidationError as error:
        raise ConfigError(
            Problem(
                "invalid-setting",
                f"[dataforge] {wrong['loc'][0]} is {str(wrong['input'])[:100]!r}: {wrong['msg'].lower()}",
                suggestion=f"change it in airflow.cfg or in {ENV_PREFIX}{str(wrong['loc'][0]).upper()}",
            )
            for wrong in error.errors(include_url=False)
        ) from None


def config_option(section: str, option: str) -> str | None:
    """Return one option of Airflow's own configuration, without importing Airflow; None when it is not set."""
    by_env = os.environ.get(f"AIRFLOW__{section.upper()}__{option.upper()}")
    return by_env if by_env is not None else _config_section(section).get(option)


def _folder(text: str) -> Path:
    return Path(os.path.normpath(airflow_home() / Path(text).expanduser()))


def _environment() -> dict[str, str]:
    return {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(ENV_PREFIX)
    }


def _config_section(section: str) -> dict[str, str]:
    path = Path(os.environ.get("AIRFLOW_CONFIG", airflow_home() / "airflow.cfg")).expanduser()
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        # Airflow writes a file of thousands of lines, of which a task's process needs one section, soon
        texts = re.findall(rf"(?ms)^\[{re.escape(section)}\][^\n]*\n.*?(?=^\[|\Z)", path.read_text(encoding="utf-8"))
        parser.read_string("".join(texts))
    except (Error, OSError, UnicodeDecodeError):
        return {}
    return dict(parser[section]) if parser.has_section(section) else {}
