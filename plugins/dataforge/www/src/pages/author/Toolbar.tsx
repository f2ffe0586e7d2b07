import { Badge, Button, Flex, IconButton, Text } from "@chakra-ui/react";
import { useNavigate } from "react-router-dom";

import { api } from "../../api/client";
import { useAct } from "../../api/use";
import { paths } from "../../paths";
import { UndoIcon, RedoIcon } from "../../draft/icons";
import { strings } from "../../strings";
import { ValidityBadge } from "../../ui/badges";
import { Failure } from "../../ui/states";
import { GatedButton } from "../../ui/GatedButton";
import { laidOut, type Draft } from "./draft";
import type { Dispatch } from "./useAuthor";
import type { Checks } from "./useChecks";
import { isAtWork } from "./job";
import type { useJob } from "./useJob";
import type { Saving, useSaving } from "./useSaving";

const words = strings.author;
const palettes: Record<Saving, string> = { saved: "green", unsaved: "orange", saving: "gray", failed: "red", conflict: "red" };

interface ToolbarProps {
  draft: Draft;
  dispatch: Dispatch;
  checks: Checks;
  saving: ReturnType<typeof useSaving>;
  job: ReturnType<typeof useJob>;
  onDeploy: () => void;
  deploying: boolean;
  blocked: string | null;
}

/** Why a draft can't be deployed as it is. */
function whyNot({ text, proposal, base }: Draft, { valid }: Checks): string | null {
  if (text.trim() === "") return words.nothingYet;
  if (proposal) return words.decideFirst;
  if (text === base.text) return words.inForce;
  return valid === false ? words.mendFirst : null;
}

/** The state of the draft, and what can be done with it as a whole. */
export function Toolbar({ draft, dispatch, checks, saving, job, onDeploy, deploying, blocked }: ToolbarProps) {
  const navigate = useNavigate();
  const isEmpty = draft.text.trim() === "";
  const why = blocked ?? whyNot(draft, checks);
  const mend = useAct(() => job.start({ kind: "repair", text: draft.text, file: draft.file, chat: draft.chat, turns: 0 }));
  const discard = useAct(async () => {
    if (draft.id) await api(`/drafts/${draft.id}`, { method: "DELETE" });
    saving.close();
    void navigate(draft.base.digest ? paths.edit(draft.file) : paths.create());
  });
  const startBlank = () => dispatch({ type: "replaced", text: laidOut({ dag_id: "new_pipeline", source: {}, destination: {} }) });
  const error = mend.error ?? discard.error ?? (saving.state === "failed" ? saving.error : undefined);
  return (
    <>
      <Flex align="center" gap={2} wrap="wrap">
        {checks.valid !== null && <ValidityBadge findings={checks.findings} valid={checks.valid} />}
        {!checks.fresh && !isEmpty && !blocked && <Badge colorPalette="gray">{checks.error ? words.notChecked : words.checking}</Badge>}
        {!blocked && (draft.id || saving.state !== "saved") && <Badge colorPalette={palettes[saving.state]} role="status">{words.saving[saving.state]}</Badge>}
        <IconButton aria-label={words.undo} disabled={blocked !== null || draft.past.length === 0} onClick={() => dispatch({ type: "undo" })} size="xs" title={words.undo} variant="ghost"><UndoIcon /></IconButton>
        <IconButton aria-label={words.redo} disabled={blocked !== null || draft.future.length === 0} onClick={() => dispatch({ type: "redo" })} size="xs" title={words.redo} variant="ghost"><RedoIcon /></IconButton>
        <Flex gap={2} ms="auto" wrap="wrap">
          {isEmpty && <GatedButton onClick={startBlank} size="sm" variant="outline" why={blocked}>{words.startBlank}</GatedButton>}
          {!isEmpty && checks.valid === false && (
            <GatedButton loading={mend.busy} onClick={() => void mend.run()} size="sm" variant="outline" why={blocked ?? (isAtWork(job.job) ? words.atWork : null)}>
              {words.mend}
            </GatedButton>
          )}
          {draft.id && !blocked && <Button loading={discard.busy} onClick={() => void discard.run()} size="sm" variant="ghost">{words.discard}</Button>}
          <GatedButton aria-expanded={deploying} colorPalette="brand" onClick={onDeploy} size="sm" why={why}>
            {words.deploy}
          </GatedButton>
        </Flex>
      </Flex>
      {blocked && <Text color="fg.muted" fontSize="sm">{blocked}</Text>}
      {saving.state === "conflict" && (
        <Flex align="center" bg="bg.warning" borderRadius="md" gap={3} p={3} role="alert" wrap="wrap">
          <Text flex={1} fontSize="sm">{words.draftConflict}</Text>
          <Button onClick={() => window.location.reload()} size="xs" variant="outline">{words.loadTheirs}</Button>
          <Button onClick={() => void saving.save(true)} size="xs" variant="outline">{words.keepMine}</Button>
        </Flex>
      )}
      {error && <Failure error={error} />}
    </>
  );
}
