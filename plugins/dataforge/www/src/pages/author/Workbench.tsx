import { Grid, Stack } from "@chakra-ui/react";
import { useCallback, useEffect, useState } from "react";

import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Conversation } from "./Conversation";
import type { Draft } from "./draft";
import { DraftPane } from "./DraftPane";
import type { Landing } from "./Landed";
import type { Me, Message } from "./shapes";
import type { Dispatch } from "./useAuthor";
import { useChecks } from "./useChecks";
import type { Job } from "./job";
import { useJob } from "./useJob";
import { useSaving } from "./useSaving";

interface WorkbenchProps {
  draft: Draft;
  dispatch: Dispatch;
  /** The deploy that led here. */
  landing: Landing | undefined;
  me: Me;
}

/** Why this person may not work on a draft; null when they may. */
export function whyBlocked(me: Me, draft: Draft): string | null {
  if (draft.base.mayEdit ?? me.creates) return null;
  return me.edits && draft.base.mayEdit === undefined ? strings.author.mayNotCreate : strings.author.viewer;
}

/** The conversation left, the draft right; one below the other where there is no room. */
export function Workbench({ draft, dispatch, landing, me }: WorkbenchProps) {
  const blocked = whyBlocked(me, draft);
  const checks = useChecks(draft.text, draft.file, !blocked);
  const saving = useSaving(draft, dispatch, !blocked);
  const messages = useQuery<{ messages: Message[] }>(draft.chat ? `/chats/${draft.chat}/messages` : null);
  const [ended, setEnded] = useState<Job | null>(null);
  const job = useJob(useCallback((one: Job) => setEnded(one), []));

  useEffect(() => {
    if (!ended) return;
    setEnded(null);
    messages.reload();
    const text = ended.state === "done" && ended.kind !== "explain" ? ended.result?.text : undefined;
    if (!text || text === draft.text) return job.settle();
    dispatch({ type: "proposed", proposal: { text, from: ended.kind === "explain" ? "refine" : ended.kind } });
    if (draft.text.trim() === "") job.settle();
  }, [ended, messages, draft.text, dispatch, job]);

  const decide = (text: string | null) => {
    dispatch({ type: "decided", text });
    job.settle();
  };
  return (
    <Grid gap={5} templateColumns={{ base: "minmax(0, 1fr)", lg: "minmax(20rem, 2fr) minmax(0, 3fr)" }}>
      <Stack as="section" aria-label={strings.author.conversation} minW={0}>
        <Conversation blocked={blocked} checks={checks} dispatch={dispatch} draft={draft} job={job} messages={messages} />
      </Stack>
      <Stack as="section" aria-label={strings.author.draft} gap={3} minW={0}>
        <DraftPane blocked={blocked} checks={checks} decide={decide} dispatch={dispatch} draft={draft} job={job} landing={landing} me={me} saving={saving} />
      </Stack>
    </Grid>
  );
}
