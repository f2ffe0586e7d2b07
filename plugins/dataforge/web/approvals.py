"""Deploys that wait for a second person, and what that person says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from dataforge.web.bodies import Body
from dataforge.web.forms import ChangeForm, DeployedForm, FindingForm
from dataforge.web.state import AtDesk

ROUTES = APIRouter(prefix="/approvals", tags=["approvals"])
Id = Annotated[str, Path(max_length=64)]
State = Literal["pending", "carried", "approved", "rejected", "withdrawn"]


class ApprovalForm(BaseModel):
    """A deploy that waits, or waited; `mine` says that whoever asks now asked for it, and so can't approve it."""

    id: str
    file: str
    kind: Literal["deploy", "rollback"]
    actor: str
    reason: str
    state: State
    digest: str
    base: str
    decider: str
    comment: str
    mine: bool
    created_at: str
    decided_at: str | None


class ApprovalsForm(BaseModel):
    """Those that a person may decide about, or asked for, the newest first."""

    approvals: list[ApprovalForm]


class WholeApproval(ApprovalForm):
    """One with its text, and what that changes of the config as it is now."""

    text: str
    diff: str
    changes: list[ChangeForm]
    words: str
    findings: list[FindingForm]


class AwaitingForm(BaseModel):
    """A deploy that was checked and waits."""

    approval: ApprovalForm


class DecidedForm(AwaitingForm):
    """What became of it."""

    deployed: DeployedForm | None


class DecisionBody(Body):
    """What a second person says; whoever asked for it may only say no, which withdraws it."""

    approve: bool
    comment: str = Field(default="", max_length=1_000)


@ROUTES.get("", response_model=ApprovalsForm)
def waiting(at: AtDesk, state: State | None = None) -> dict[str, Any]:
    """List the deploys that this person may decide about, or asked for."""
    return {"approvals": at.approvals(state)}


@ROUTES.get("/{id}", response_model=WholeApproval)
def one(id: Id, at: AtDesk) -> dict[str, Any]:
    """Return one with its text and what it changes."""
    return at.approval(id)


@ROUTES.post("/{id}", response_model=DecidedForm)
def decide(id: Id, body: DecisionBody, at: AtDesk) -> dict[str, Any]:
    """Approve, which carries it out if the config is still as it was, or say no."""
    return at.decide(id, body.comment, approve=body.approve)
