/** What the routes about models, use and audit answer. */
import type { Forms } from "../../api/client";

export type Me = Forms["MeForm"];
export type Used = Forms["UsageRow"];
export type Entry = Forms["EntryForm"];
export type Check = Forms["ConnectionCheckForm"];
/** A change that waits; `mine` says that whoever looks asked for it, and so can't approve it. */
export type Approval = Forms["ApprovalForm"];
export type WholeApproval = Forms["WholeApproval"];
