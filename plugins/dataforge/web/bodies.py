"""What requests carry, and the answers whose form does not vary."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dataforge.authoring.prompts import too_much

MIN_WORDS = 10
MAX_WORDS = 5_000


def _readable(text: str) -> str:
    if reason := too_much(text):
        raise ValueError(reason)
    return text


Words = Annotated[
    str,
    AfterValidator(_readable),
    Field(min_length=MIN_WORDS, max_length=MAX_WORDS, description="What is wanted, in plain English or German."),
]
File = Annotated[str, Field(max_length=500, description="Name of a config in the configs folder; '' for none.")]
Text = Annotated[
    str, Field(max_length=1_000_000, description="The whole JSON text of a config; '' for the file's own.")
]
DagId = Annotated[str, Field(max_length=250, description="Which pipeline, where a file makes several.")]
Model = Annotated[str, Field(max_length=400, description="Model, or connection/model; '' for the deployment's choice.")]


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise ValueError("the values are no plain JSON") from None
    return value


Pinned = Annotated[
    dict[str, Any],
    AfterValidator(_plain_json),
    Field(description="Values that no model may change, by key ('schedule') or JSON pointer ('/destination/table')."),
]
ChatId = Annotated[str, Field(max_length=64, description="The chat that this belongs to; '' for none.")]
Attachments = Annotated[
    list[Annotated[str, Field(pattern="^[0-9a-f]{32}$")]], Field(max_length=5, description="Ids of uploaded files.")
]
Reason = Annotated[str, Field(max_length=1_000, description="Why, in a sentence, for the history.")]


class Body(BaseModel):
    """Base of all bodies: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class ConfigBody(Body):
    """A config, as text or by its file."""

    text: Text = ""
    file: File = ""


class DiffBody(Body):
    """Two configs: the file as it is, and a text."""

    text: Annotated[str, Field(max_length=1_000_000)]
    file: File = ""


class RunBody(ConfigBody):
    """A config whose run is to be told beforehand."""

    dag_id: DagId = ""


class PreviewBody(RunBody):
    """The same, with how many rows to show."""

    rows: int = Field(default=10, ge=1, le=50, description="Sample rows of each step.")


class GenerateBody(Body):
    """A new config from words."""

    kind: Literal["generate"]
    request: Words
    mode: Literal["edit", "plan", "ask"] = Field(default="edit", description="A config, its steps in words, an answer.")
    params: Pinned = {}
    model: Model = ""
    attachments: Attachments = []
    chat: ChatId = ""


class RefineBody(ConfigBody):
    """A change of a config in words."""

    kind: Literal["refine"]
    request: Words
    mode: Literal["edit", "plan", "ask"] = Field(default="edit", description="A change, its steps in words, an answer.")
    params: Pinned = {}
    model: Model = ""
    attachments: Attachments = []
    chat: ChatId = ""


class RepairBody(ConfigBody):
    """A faulty config that is to be mended."""

    kind: Literal["repair"]
    dag_id: DagId = ""
    run_id: Annotated[str, Field(max_length=250, description="A failed run of that pipeline: its log is read.")] = ""
    model: Model = ""
    turns: int = Field(default=5, ge=0, le=10, description="Calls of a model at most; 0: fixers alone.")
    chat: ChatId = ""


class ExplainBody(ConfigBody):
    """A config, or the code of a finding, that is to be explained."""

    kind: Literal["explain"]
    finding: str = Field(default="", max_length=100)
    language: Literal["English", "German"] = "English"
    model: Model = ""
    chat: ChatId = ""


JobBody = Annotated[GenerateBody | RefineBody | RepairBody | ExplainBody, Field(discriminator="kind")]


class DeployBody(Body):
    """A config that is to be put into force."""

    text: Annotated[str, Field(min_length=2, max_length=1_000_000)]
    reason: Reason = ""


class RollbackBody(Body):
    """The revision to go back to."""

    revision: str = Field(default="", max_length=64, description="Its id or digest; the one before when ''.")
    reason: Reason = ""


class ChatBody(Body):
    """A new chat."""

    title: str = Field(min_length=1, max_length=200)
    file: File = ""


class MessageBody(Body):
    """One message of a chat."""

    text: Words
    attachments: Attachments = []


class RunNowBody(Body):
    """A run by hand."""

    params: Annotated[dict[str, Any], AfterValidator(_plain_json)] = Field(
        default={}, description="Values of the pipeline's parameters; the others have their defaults."
    )
    unpause: bool = Field(default=False, description="Whether a paused pipeline is unpaused, so that the run begins.")


class PauseBody(Body):
    """Whether a pipeline is paused."""

    paused: bool


class ReplayBody(Body):
    """The dead letters to take back in."""

    ids: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=1_000)] = Field(
        default=[], description="Which; all that were not replayed yet when empty."
    )


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["ok", "not-ready"]
