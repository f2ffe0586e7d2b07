"""The forms of answers, from which the API's description, and the page's types, are made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class FindingForm(BaseModel):
    """One thing that a check found; line and column count from 1."""

    code: str
    severity: Literal["error", "warning", "info"]
    message: str
    file: str
    line: int
    column: int
    pointer: str
    suggestion: str | None
    allowed: list[str]


class DeliveryForm(BaseModel):
    """The delivery guarantee of one destination."""

    destination: int
    letter: Literal["E", "M", "K", "A", "B"]
    words: str
    reason: str
    improvements: list[str]


class LastRunForm(BaseModel):
    """A run in short."""

    run_id: str
    state: str
    start: str | None
    end: str | None
    logical_date: str | None


class SeenForm(BaseModel):
    """What Airflow knows of a pipeline; `runs` are the states of its last runs, the newest first."""

    last_run: LastRunForm | None
    freshness_seconds: float | None
    paused: bool | None
    runs: list[str]
    parsed: bool
    import_error: str | None


class BriefPipeline(BaseModel):
    """A pipeline in short."""

    dag_id: str
    file: str
    description: str
    schedule: Any
    tags: list[str]
    sources: list[str]
    destinations: list[str]
    owner: str
    delivery: list[DeliveryForm]
    valid: bool
    findings: list[FindingForm]


class RightsForm(BaseModel):
    """What this person may do with a pipeline: change its file, with all that stands in it; start runs of it."""

    may_edit: bool
    may_run: bool


class ListedPipeline(BriefPipeline, SeenForm, RightsForm):
    """A pipeline in short, with what Airflow knows of it."""


class InvalidFile(BaseModel):
    """A file that gives no pipeline, and why."""

    file: str
    valid: bool
    findings: list[FindingForm]
    may_edit: bool


class PipelinesForm(BaseModel):
    """All pipelines that a person may read."""

    pipelines: list[ListedPipeline]
    invalid: list[InvalidFile]


class PipelineForm(BriefPipeline, RightsForm):
    """A pipeline with its config and what that means."""

    digest: str
    config: dict[str, Any]
    summary: str
    words: str


class StageForm(BaseModel):
    """A task of a run with what it counted; `rejected` are the records that it set aside itself."""

    task_id: str
    state: str | None
    try_number: int
    seconds: float | None
    rows: int | None
    rows_in: int | None
    rejected: int | None
    bytes: int | None


class RunForm(LastRunForm):
    """A run with its tasks."""

    run_type: str
    seconds: float | None
    stages: list[StageForm]
    rows_in: int | None
    rows_out: int | None
    rejected: int | None


class RunsForm(BaseModel):
    """The runs of a pipeline, the newest first."""

    runs: list[RunForm]


class StatusForm(BaseModel):
    """What Airflow made of a config; `current` says that it has parsed what was asked for."""

    parsed: bool
    current: bool
    import_error: str | None
    paused: bool | None
    version: int | None


class PausedForm(BaseModel):
    """Whether a pipeline is paused."""

    paused: bool


class LetterForm(BaseModel):
    """A record that was set aside; `destination` counts from 1."""

    id: str
    run_id: str
    stage: str
    reason: str
    source: str
    position: str
    column: str
    record: Any
    replayed: bool
    kept_at: str | None
    destination: int


class LettersForm(BaseModel):
    """Dead letters, the oldest first; `total` counts all, `pending` those that were not replayed yet."""

    total: int
    pending: int
    letters: list[LetterForm]


class ReplayedForm(BaseModel):
    """What a replay did: letters taken back in, and how many records of them were set aside again."""

    replayed: int
    rejected: int


class OriginForm(BaseModel):
    """A column of a source."""

    source: str
    column: str


class ColumnForm(BaseModel):
    """A column of the result: where it comes from, and the transforms (from 0) that change it on the way."""

    column: str
    type: str
    origins: list[OriginForm] = Field(alias="from", serialization_alias="from")
    steps: list[int]


class LineageForm(BaseModel):
    """The columns of the result, traced back."""

    columns: list[ColumnForm]


class ConnectionCheckForm(BaseModel):
    """The last look at a connection from where tasks run."""

    state: Literal["ok", "failed", "unknown", "running"]
    message: str
    checked_at: str | None


class ValueForm(BaseModel):
    """One value in force, and where it was written."""

    pointer: str
    value: Any
    origin: str


class ValuesForm(BaseModel):
    """Every value in force."""

    values: list[ValueForm]


class SqlForm(BaseModel):
    """What the transforms become."""

    sql: str


class WordsForm(BaseModel):
    """What a config does, in words, and the SQL of its transforms."""

    text: str
    sql: str


class ConfigForm(BaseModel):
    """A config as it stands in its file; `may_edit`: by this person."""

    file: str
    text: str
    digest: str
    dag_ids: list[str]
    findings: list[FindingForm]
    may_edit: bool


class CheckedForm(BaseModel):
    """What the checks say of a config, and the pipelines that it makes."""

    valid: bool
    findings: list[FindingForm]
    dag_ids: list[str]


class ChangeForm(BaseModel):
    """One difference between two configs."""

    op: Literal["add", "remove", "replace"]
    pointer: str
    before: Any
    after: Any


class DiffForm(BaseModel):
    """The differences: as unified diff, value by value, in words."""

    diff: str
    changes: list[ChangeForm]
    words: str


class StepForm(BaseModel):
    """A source or a step of a preview."""

    name: str
    type: str
    columns: dict[str, str]
    row_count: int
    added: list[str]
    removed: list[str]
    retyped: list[str]
    rows: list[dict[str, Any]]


class CheckForm(BaseModel):
    """What a check of the config says of the sample."""

    check: str
    passed: bool
    violations: int
    checked: int


class PreviewForm(BaseModel):
    """Sample rows after every step."""

    steps: list[StepForm]
    checks: list[CheckForm]
    notes: list[str]


class PlanForm(BaseModel):
    """What a run would do: rows read by source, a report of each destination, the checks."""

    read: dict[str, int]
    loads: list[dict[str, Any]]
    checks: list[dict[str, Any]]


class ListedRevision(BaseModel):
    """A revision in short."""

    id: int
    digest: str
    author: str
    reason: str
    model: str
    prompt_hash: str
    kind: str
    created_at: str


class RevisionsForm(BaseModel):
    """The revisions of a config, the newest first."""

    revisions: list[ListedRevision]


class RevisionForm(DiffForm):
    """A revision with its text, and what going back to it would change; `current` is the digest now in force."""

    id: int
    digest: str
    author: str
    reason: str
    model: str
    kind: str
    created_at: str
    text: str | None
    current: str
    findings: list[FindingForm]


class DeployedForm(BaseModel):
    """What a deploy or a rollback did."""

    status: Literal["deployed", "unchanged"]
    file: str
    digest: str
    revision: int | None
    diff: str
    notes: list[str]


class JobForm(BaseModel):
    """A job."""

    id: str
    kind: Literal["generate", "refine", "repair", "explain"]
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    file: str
    created_at: str
    ended_at: str | None


class JobWithResult(JobForm):
    """A job with what came of it: a draft, a repair, an explanation, or why there is none."""

    result: dict[str, Any] | None


class JobsForm(BaseModel):
    """A person's jobs, the newest first."""

    jobs: list[JobForm]


class ChatForm(BaseModel):
    """A chat."""

    id: str
    title: str
    file: str
    created_at: str
    updated_at: str


class ChatsForm(BaseModel):
    """A person's chats, the last used first."""

    chats: list[ChatForm]


class MessageForm(BaseModel):
    """A message; `details` are what the page shows with it."""

    id: int
    role: str
    text: str
    details: dict[str, Any]
    at: str


class MessagesForm(BaseModel):
    """The messages of a chat, the oldest first."""

    messages: list[MessageForm]


class ListedComponent(BaseModel):
    """A component in short."""

    kind: str
    type: str
    summary: str
    keys: str


class ComponentsForm(BaseModel):
    """All components."""

    components: list[ListedComponent]


class ExampleForm(BaseModel):
    """A request with the config that answers it."""

    id: str
    request: str
    language: str
    config: dict[str, Any]


class ExamplesForm(BaseModel):
    """All examples."""

    examples: list[ExampleForm]


class CodeForm(BaseModel):
    """What a finding's code means."""

    code: str
    text: str


class ConnectionForm(BaseModel):
    """An Airflow connection; nothing else of it is told."""

    id: str
    type: str


class ConnectionsForm(BaseModel):
    """The connections; `complete` says that there are no others."""

    connections: list[ConnectionForm]
    complete: bool
    notes: list[str]


class ModelForm(BaseModel):
    """A language model and what it is used for."""

    name: str
    tasks: list[str]


class ProviderForm(BaseModel):
    """A connection to a provider, with its models or the reason why there are none."""

    connection: str
    provider: str
    models: list[ModelForm]
    error: str | None


class ModelsForm(BaseModel):
    """All language models."""

    connections: list[ProviderForm]


class UsedForm(BaseModel):
    """What calls of one model for one task took in a month."""

    month: str
    model: str
    task: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float


class UsageRow(BaseModel):
    """What was used on one day, by one person or of one model."""

    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


class UsageForm(BaseModel):
    """What was used: `rows` where a grouping was asked for, else `usage`."""

    usage: list[UsedForm]
    rows: list[UsageRow]


class LimitsForm(BaseModel):
    """How often a person may ask within `seconds`; 0: as often as they like."""

    seconds: int
    requests: int
    generates: int
    refines: int


class BudgetForm(BaseModel):
    """A budget for language models: of this person today or in this month (UTC), or of all together in this month."""

    scope: Literal["user_day", "user_month", "month"]
    unit: Literal["tokens", "money"]
    most: float
    used: float
    left: float
    ends_at: str


class MeForm(BaseModel):
    """Who asks; `edits` says that there is a DAG that they may edit, `creates` that they may make new ones.

    `may_author` is the same as `edits`; `may_admin`: to see everybody's use and audit entries; `approval_required`:
    deploys wait until another person approves; `budgets` are those that are set.
    """

    name: str
    edits: bool
    creates: bool
    may_author: bool
    may_admin: bool
    approval_required: bool
    limits: LimitsForm
    budgets: list[BudgetForm]
