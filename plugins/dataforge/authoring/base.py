"""What the parts of authoring hand each other, as frozen values.

    AuthorRequest ─ extraction ─► Extracted … ─ author ─► Draft ─ (a person accepts) ─ deploy ─► configs/*.json
                                                  │ Candidate ─ checks ─► findings ─ repair ─► Candidate …

A config is plain JSON here (`Config`): what a model writes may be anything, and only the checks say what it is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataforge.config.findings import Finding
from dataforge.config.findings import has_errors as has_errors_
from dataforge.gateway.base import Usage

Config = Mapping[str, Any]
"""The JSON of one config file, as read."""

Mode = Literal["ask", "plan", "edit"]
"""ask: answers and questions only; plan: steps in words; edit: a config."""

TurnKind = Literal["author", "refine", "fix", "value", "patch", "rewrite", "explain"]
"""What a turn did: a first answer, an edit that was asked for, our own fix, one typed value of a model, a patch of a
model, a whole new answer of a model, an explanation."""

ExtractedKind = Literal[
    "schedule",
    "timezone",
    "start_date",
    "end_date",
    "date",
    "dag_id",
    "tag",
    "owner",
    "table",
    "connection",
    "path",
    "url",
    "endpoint",
    "disposition",
    "merge_strategy",
    "primary_key",
    "cursor",
    "component",
    "column",
    "number",
    "text",
]


@dataclass(frozen=True)
class AuthorRequest:
    """What a person wants.

    `pinned` are parameters that win over everything (JSON values by top-level key such as "schedule", or by JSON
    pointer such as "/destination/table"). `base` is the config to start from, None for a new one; `folder` the configs
    folder, whose other configs serve as examples. `model` is `model` or `connection/model`, None for the task's own.
    `history` are earlier words of the same conversation, oldest first. `live` allows sources to be asked for columns;
    `rows` allows rows of a sample to be shown to the model, masked.
    """

    text: str
    mode: Mode = "edit"
    pinned: Mapping[str, Any] = field(default_factory=dict)
    base: Config | None = None
    actor: str = ""
    team: str = ""
    model: str | None = None
    folder: Path | None = None
    history: tuple[str, ...] = ()
    live: bool = False
    rows: bool = False
    max_turns: int = 5
    deadline_seconds: float | None = None
    use_cache: bool = True
    request_id: str = ""


@dataclass(frozen=True)
class Extracted:
    """One value found in the request, and where: `request.text[start:end]`.

    `role` says what it is for where that is clear ("source", "destination", or a key such as "limit"); `sure` that
    nothing else can be meant, so that it may bind the model.
    """

    value: Any
    kind: ExtractedKind
    start: int
    end: int
    role: str = ""
    sure: bool = True


@dataclass(frozen=True)
class Assumption:
    """A value of the draft that stands nowhere in the request: its JSON pointer, the value and where it comes from."""

    pointer: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Question:
    """What only the person can say; `pointer` is the key that the answer is for, `options` are possible answers."""

    text: str
    pointer: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Similar:
    """A pipeline of the folder that comes near a request, and why it is told: "reads shop_db: orders"."""

    dag_id: str
    why: str
    file: Path | None = None


@dataclass(frozen=True)
class Change:
    """One difference between two configs. `before` of an addition and `after` of a removal are None."""

    op: Literal["add", "remove", "replace"]
    pointer: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class Candidate:
    """A config that may still be wrong, with its text and what the checks find. `text` has the findings' places."""

    config: Config
    text: str
    findings: tuple[Finding, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether no finding is an error."""
        return not has_errors_(self.findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of severity error."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


Checker = Callable[[Config], Candidate]
"""Checks a config as everyone checks it (authoring.checks), writes its text, and returns both with the findings."""


@dataclass(frozen=True)
class Turn:
    """One step towards the draft: who did what, what it cost, and what the checks found before and after.

    `prompt` is the versioned prompt's name with its hash ("author@3f2a…"), `prompt_hash` that of the whole prompt as
    sent; both are "" where no model took part. `note` says in a sentence what was done.
    """

    kind: TurnKind
    note: str = ""
    prompt: str = ""
    prompt_hash: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    before: tuple[Finding, ...] = ()
    after: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()
    cached: bool = False


@dataclass(frozen=True)
class Draft:
    """What came of a request.

    `config` is None in modes ask and plan, and when nothing could be drafted; `answer` is for the person: what was
    decided and what a default decides, the steps of a plan, or why the request is refused. `diff` is against the
    request's `base` (against nothing: the whole config is one addition each key). `grounds` maps JSON pointers to the
    value of the request that stands behind them; `similar` are pipelines that do about the same already.
    """

    config: Config | None
    text: str
    findings: tuple[Finding, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    questions: tuple[Question, ...] = ()
    trace: tuple[Turn, ...] = ()
    usage: Usage = field(default_factory=Usage)
    extracted: tuple[Extracted, ...] = ()
    diff: tuple[Change, ...] = ()
    answer: str = ""
    notes: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    refused: bool = False
    request_id: str = ""
    grounds: Mapping[str, Extracted] = field(default_factory=dict)
    similar: tuple[Similar, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether there is a config and no finding is an error."""
        return self.config is not None and not has_errors_(self.findings)
