import { Stack, Tabs } from "@chakra-ui/react";
import { useState } from "react";

import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { ConfigEditor, ConfigForm, PipelineGraph, columnsOfPreview, readConfig, type JsonObject } from "../../draft";
import { strings } from "../../strings";
import { Empty } from "../../ui/states";
import { Awaiting } from "./Awaiting";
import { Deploy } from "./Deploy";
import { DiffTab } from "./DiffTab";
import type { Draft } from "./draft";
import { DraftFindings } from "./DraftFindings";
import { EffectiveTab } from "./EffectiveTab";
import { Landed, type Landing } from "./Landed";
import { PlanTab } from "./PlanTab";
import { PreviewTab } from "./PreviewTab";
import { ProposalPanel } from "./ProposalPanel";
import type { Me } from "./shapes";
import { SqlTab } from "./SqlTab";
import { Toolbar } from "./Toolbar";
import { Trying } from "./Trying";
import type { Dispatch } from "./useAuthor";
import type { Checks } from "./useChecks";
import type { useJob } from "./useJob";
import type { useSaving } from "./useSaving";

const words = strings.author;
const TABS = ["graph", "config", "form", "preview", "sql", "plan", "diff", "effective"] as const;
type Tab = (typeof TABS)[number];

interface DraftPaneProps {
  draft: Draft;
  dispatch: Dispatch;
  checks: Checks;
  saving: ReturnType<typeof useSaving>;
  job: ReturnType<typeof useJob>;
  landing: Landing | undefined;
  me: Me;
  decide: (text: string | null) => void;
  blocked: string | null;
}

/** The draft: what is proposed for it, its views, what checks find in it, and its way into force. */
export function DraftPane({ draft, dispatch, checks, saving, job, landing, me, decide, blocked }: DraftPaneProps) {
  const [tab, setTab] = useState<Tab>("graph");
  const [deploying, setDeploying] = useState(false);
  const [place, setPlace] = useState<{ pointer: string } | null>(null);
  const [steps, setSteps] = useState<Forms["StepForm"][]>([]);
  const schema = useQuery<JsonObject>("/schema").data ?? null;
  const connections = useQuery<Forms["ConnectionsForm"]>(blocked ? null : "/connections").data?.connections;
  const config = readConfig(draft.text);
  const columns = columnsOfPreview(config, steps);
  const shared = { text: draft.text, schema, findings: checks.findings, known: { connections, columns }, readOnly: blocked !== null };
  const typed = (text: string) => dispatch({ type: "typed", text, at: Date.now() });
  const show = (pointer: string) => {
    setPlace({ pointer });
    if (tab !== "form") setTab("config");
  };
  const trial = { text: draft.text, file: draft.file, valid: checks.fresh ? checks.valid : null, dagIds: checks.dagIds, blocked };
  return (
    <Stack gap={3}>
      <Toolbar blocked={blocked} checks={checks} deploying={deploying} dispatch={dispatch} draft={draft} job={job} onDeploy={() => setDeploying(!deploying)} saving={saving} />
      {landing && !deploying && <Landed blocked={blocked} key={landing.digest} landing={landing} />}
      {me.approval_required && !deploying && <Awaiting file={draft.file} />}
      {deploying && <Deploy close={() => setDeploying(false)} dispatch={dispatch} draft={draft} me={me} over={saving.close} />}
      {draft.proposal && <ProposalPanel decide={decide} draft={draft} proposal={draft.proposal} />}
      {draft.text.trim() === "" ? (
        <Empty description={words.emptyDraftHelp} title={words.emptyDraft} />
      ) : (
        <Tabs.Root lazyMount onValueChange={(one) => setTab(one.value as Tab)} unmountOnExit value={tab} size="sm">
          <Tabs.List overflowX="auto">
            {TABS.map((one) => (
              <Tabs.Trigger flexShrink={0} key={one} value={one}>
                {words.tabs[one]}
              </Tabs.Trigger>
            ))}
          </Tabs.List>
          <Tabs.Content value="graph">
            <PipelineGraph columns={columns} config={config} findings={checks.findings} onSelect={(pointer) => setPlace({ pointer })} selected={place?.pointer ?? null} />
          </Tabs.Content>
          <Tabs.Content value="config">
            <ConfigEditor {...shared} goTo={place} onChange={typed} />
          </Tabs.Content>
          <Tabs.Content value="form">
            <ConfigForm {...shared} goTo={place} onChange={typed} onPin={(pointer, value) => dispatch({ type: "pinned", pointer, value })} pinned={draft.pinned} />
          </Tabs.Content>
          <Tabs.Content value="preview">
            <Trying {...trial}>{(of) => <PreviewTab {...of} onSteps={setSteps} />}</Trying>
          </Tabs.Content>
          <Tabs.Content value="sql">
            <SqlTab {...trial} />
          </Tabs.Content>
          <Tabs.Content value="plan">
            <Trying {...trial}>{(of) => <PlanTab {...of} />}</Trying>
          </Tabs.Content>
          <Tabs.Content value="diff">
            <DiffTab base={draft.base} text={draft.text} />
          </Tabs.Content>
          <Tabs.Content value="effective">
            <Trying {...trial}>{(of) => <EffectiveTab {...of} />}</Trying>
          </Tabs.Content>
        </Tabs.Root>
      )}
      <DraftFindings apply={(text) => dispatch({ type: "replaced", text })} blocked={blocked} checks={checks} onPlace={show} text={draft.text} />
    </Stack>
  );
}
