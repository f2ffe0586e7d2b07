import { Heading, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { api, type Forms } from "../../api/client";
import { useAct, useQuery, type Query } from "../../api/use";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { Attachments } from "./Attachments";
import { Chats } from "./Chats";
import { Composer, type Wish } from "./Composer";
import type { Draft } from "./draft";
import { Drafts } from "./Drafts";
import { JobCard } from "./JobCard";
import { NoModel } from "./NoModel";
import { Pins } from "./Pins";
import { useAddress } from "./query";
import type { Message } from "./shapes";
import { Templates } from "./Templates";
import { Thread } from "./Thread";
import type { Dispatch } from "./useAuthor";
import type { Checks } from "./useChecks";
import { isAtWork } from "./job";
import type { useJob } from "./useJob";

const words = strings.author;

interface ConversationProps {
  draft: Draft;
  dispatch: Dispatch;
  checks: Checks;
  job: ReturnType<typeof useJob>;
  messages: Query<{ messages: Message[] }>;
  /** Why this person may not write; null when they may. */
  blocked: string | null;
}

/** What was said, what is at work, and what is to be said next. */
export function Conversation({ draft, dispatch, checks, job, messages, blocked }: ConversationProps) {
  const models = useQuery<Forms["ModelsForm"]>("/models");
  const [, put] = useAddress();
  const choose = (chat: string) => {
    dispatch({ type: "chatted", chat });
    put("chat", chat || null);
  };
  const [files, setFiles] = useState<string[]>([]);
  const ask = useAct(async (wish: Wish, onBegun: () => void) => {
    const chat = draft.chat || (await begun(wish.request || words.repairWithModel, draft.file));
    if (chat !== draft.chat) choose(chat);
    await job.start({ ...bodyOf(wish, draft, files), chat });
    setFiles([]);
    onBegun();
  });
  const propose = (text: string) => dispatch({ type: "proposed", proposal: { text, from: "refine" } });
  const invalid = checks.valid === false && draft.text.trim() !== "";
  return (
    <Stack gap={4}>
      <Heading as="h2" size="md">
        {words.conversation}
      </Heading>
      <NoModel models={models} />
      {draft.text.trim() === "" && messages.data === undefined && <Text color="fg.muted">{words.welcome}</Text>}
      {messages.error && <Failure error={messages.error} onRetry={messages.reload} />}
      {messages.data && <Thread current={draft.text} messages={messages.data.messages} propose={blocked ? null : propose} />}
      {job.job && <JobCard cancel={job.cancel} hasThread={draft.chat !== ""} job={job.job} />}
      {ask.error && <Failure error={ask.error} />}
      <Composer
        blocked={blocked ?? (isAtWork(job.job) ? words.atWork : null)}
        busy={ask.busy}
        hasDraft={draft.text.trim() !== ""}
        invalid={invalid}
        models={models.data}
        send={ask.run}
      />
      <Attachments blocked={blocked} choose={setFiles} chosen={files} dispatch={dispatch} draft={draft} />
      <Pins blocked={blocked} onPin={(pointer, value) => dispatch({ type: "pinned", pointer, value })} pinned={draft.pinned} />
      <Templates blocked={blocked} isOpen={draft.text.trim() === "" && draft.chat === ""} use={(text) => dispatch({ type: "proposed", proposal: { text, from: "generate" } })} />
      {!blocked && <Drafts current={draft.id} file={draft.file} />}
      <Chats chat={draft.chat} onChoose={choose} turn={messages.data?.messages.length ?? 0} />
    </Stack>
  );
}

async function begun(request: string, file: string): Promise<string> {
  const title = request.replace(/\s+/g, " ").slice(0, 80);
  return (await api<Forms["ChatForm"]>("/chats", { method: "POST", body: { title, file } })).id;
}

/** A first draft is generated; what is there is refined, talked about, or repaired. */
function bodyOf({ request, mode, model, repair }: Wish, { text, file, pinned }: Draft, attachments: string[]): object {
  if (repair) return { kind: "repair", text, file, model };
  const wish = { request, mode, model, params: pinned, attachments };
  return text.trim() === "" ? { kind: "generate", ...wish } : { kind: "refine", ...wish, text, file };
}
