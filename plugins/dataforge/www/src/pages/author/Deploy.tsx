import { Box, Button, Field, Heading, HStack, Input, Stack, Textarea } from "@chakra-ui/react";
import { useState } from "react";
import { useNavigate } from "react-router-dom";

import { ApiProblem, api, newKey, request, type Forms } from "../../api/client";
import { useAct } from "../../api/use";
import { readConfig } from "../../draft";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { TextDiff } from "../../ui/TextDiff";
import { Conflict } from "./Conflict";
import type { Draft } from "./draft";
import type { Landing } from "./Landed";
import type { Me } from "./shapes";
import { configPath, type Dispatch } from "./useAuthor";

const words = strings.author;

interface DeployProps {
  draft: Draft;
  dispatch: Dispatch;
  me: Me;
  close: () => void;
  /** Told when the draft is in force and needs no keeping any more. */
  over: () => void;
}

/** Puts the draft into force: what changes, into which file, and why. */
export function Deploy({ draft, dispatch, me, close, over }: DeployProps) {
  const navigate = useNavigate();
  const [reason, setReason] = useState("");
  const [name, setName] = useState(draft.file || fileOf(draft.text));
  const isNew = draft.base.digest === "";
  const act = useAct(async () => {
    const from = isNew ? { ifNew: true } : { ifMatch: draft.base.digest };
    const body = { text: draft.text, reason: reason.trim() };
    const { data, status } = await request<Forms["DeployedForm"]>(configPath(name), { method: "PUT", body, key: newKey(), ...from });
    if (status === 202) {
      dispatch({ type: "filed", file: name });
      return close();
    }
    over();
    if (draft.id) await api(`/drafts/${draft.id}`, { method: "DELETE" }).catch(() => undefined); // it is in force now
    const landing: Landing = { file: name, digest: data.digest, notes: data.notes, unchanged: data.status === "unchanged" };
    close();
    void navigate(paths.edit(name) + (draft.chat && `?chat=${draft.chat}`), { state: { landing } });
  });
  const conflict = act.error instanceof ApiProblem && act.error.status === 412 ? act.error : null;
  const nameProblem = /^[^/.][^\\]*\.json$/.test(name) ? null : words.badName;
  return (
    <Box aria-label={words.deploy} as="section" borderRadius="md" borderWidth={1} p={3}>
      <Stack as="form" gap={3} onSubmit={(event) => (event.preventDefault(), void act.run())}>
        <Heading as="h2" size="sm">{me.approval_required ? words.deployAsk : words.deployTitle}</Heading>
        <TextDiff after={draft.text} before={draft.base.text} label={words.tabs.diff} />
        {isNew && (
          <Field.Root invalid={nameProblem !== null} required>
            <Field.Label>{words.file}</Field.Label>
            <Input onChange={(event) => setName(event.target.value)} size="sm" value={name} />
            <Field.ErrorText>{nameProblem}</Field.ErrorText>
          </Field.Root>
        )}
        <Field.Root>
          <Field.Label>{words.reason}</Field.Label>
          <Textarea autoresize maxLength={1_000} onChange={(event) => setReason(event.target.value)} rows={2} size="sm" value={reason} />
          <Field.HelperText>{words.reasonHelp}</Field.HelperText>
        </Field.Root>
        {act.error && !conflict && <Failure error={act.error} />}
        {conflict && <Conflict diff={String(conflict.more.diff ?? "")} dispatch={dispatch} file={name} onDone={act.forget} text={draft.text} />}
        <HStack>
          <Button colorPalette="brand" disabled={nameProblem !== null || conflict !== null} loading={act.busy} size="sm" type="submit">
            {me.approval_required ? words.askApproval : words.deployNow}
          </Button>
          <Button onClick={close} size="sm" type="button" variant="outline">{words.notYet}</Button>
        </HStack>
      </Stack>
    </Box>
  );
}

function fileOf(text: string): string {
  const id = readConfig(text)?.dag_id;
  return typeof id === "string" && /^[\w.-]+$/.test(id) ? `${id}.json` : "new.json";
}
