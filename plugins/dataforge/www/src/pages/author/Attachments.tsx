import { Button, Checkbox, Flex, HStack, IconButton, Stack, Text } from "@chakra-ui/react";
import { useRef, useState } from "react";

import { api } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { edits, readConfig, type JsonObject } from "../../draft";
import { RemoveIcon } from "../../draft/icons";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { GatedButton } from "../../ui/GatedButton";
import { laidOut, type Draft } from "./draft";
import { Fold } from "./Fold";
import type { Upload } from "./shapes";
import type { Dispatch } from "./useAuthor";

const words = strings.author;
/** Files that one message may have. */
const MOST = 5;
interface AttachmentsProps {
  draft: Draft;
  dispatch: Dispatch;
  /** Ids of the files that go along with the next message. */
  chosen: readonly string[];
  choose: (ids: string[]) => void;
  blocked: string | null;
}

/** Files of samples: what is in them; they go along with words, or become the draft's source. */
export function Attachments({ draft, dispatch, chosen, choose, blocked }: AttachmentsProps) {
  const [wanted, setWanted] = useState(false);
  const uploads = useQuery<{ uploads: Upload[] }>(blocked || !wanted ? null : "/uploads");
  const file = useRef<HTMLInputElement>(null);
  const add = useAct(async (picked: File) => {
    const body = new FormData();
    body.append("file", picked);
    const { id } = await api<Upload>("/uploads", { method: "POST", body });
    choose([...chosen, id].slice(-MOST));
    uploads.reload();
  });
  const remove = useAct(async (id: string) => {
    await api(`/uploads/${id}`, { method: "DELETE" });
    choose(chosen.filter((one) => one !== id));
    uploads.reload();
  });
  const toggle = (id: string) => choose(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id].slice(-MOST));
  const found = uploads.data?.uploads ?? [];
  const error = add.error ?? remove.error ?? uploads.error;
  const use = (one: Upload) => dispatch({ type: "proposed", proposal: { text: withSource(draft.text, one), from: "upload" } });
  return (
    <Fold count={chosen.length || found.length} onToggle={(open) => open && setWanted(true)} title={words.attachments}>
      <Flex align="center" gap={3} wrap="wrap">
        <input
          accept=".csv,.tsv,.json,.ndjson,.jsonl,.parquet,.xlsx,.yaml,.yml"
          aria-label={words.attach}
          hidden
          onChange={(event) => {
            const picked = event.target.files?.[0];
            if (picked) void add.run(picked);
            event.target.value = "";
          }}
          ref={file}
          type="file"
        />
        <GatedButton loading={add.busy} onClick={() => file.current?.click()} size="sm" variant="outline" why={blocked}>
          {words.attach}
        </GatedButton>
        <Text color="fg.muted" fontSize="xs">{words.attachHelp}</Text>
      </Flex>
      {error && <Failure error={error} onRetry={uploads.reload} />}
      <Stack as="ul" gap={2} listStyleType="none">
        {found.map((one) => (
          <HStack align="start" as="li" fontSize="sm" key={one.id}>
            <Stack flex={1} gap={0} minW={0}>
              <Checkbox.Root checked={chosen.includes(one.id)} disabled={blocked !== null} onCheckedChange={() => toggle(one.id)} size="sm">
                <Checkbox.HiddenInput />
                <Checkbox.Control />
                <Checkbox.Label overflowWrap="anywhere">{one.name}</Checkbox.Label>
              </Checkbox.Root>
              <Text color="fg.muted" fontSize="xs" overflowWrap="anywhere">
                {words.profile(one.kind, one.rows, one.columns.map(({ name, type }) => `${name} ${type}`).join(", "))}
              </Text>
            </Stack>
            {one.source.type && (
              <Button aria-label={words.useSource(one.name)} disabled={blocked !== null} onClick={() => use(one)} size="2xs" variant="outline">
                {words.asSource}
              </Button>
            )}
            <IconButton aria-label={words.removeFile(one.name)} loading={remove.busy} onClick={() => void remove.run(one.id)} size="2xs" variant="ghost"><RemoveIcon /></IconButton>
          </HStack>
        ))}
      </Stack>
    </Fold>
  );
}

/** Return a draft that reads an upload. */
function withSource(text: string, { source: keys, path, name }: Upload): string {
  const source: JsonObject = { ...keys, path };
  if (readConfig(text)) return edits.set(text, "/source", source);
  const id = name.replace(/\.[^.]*$/, "").toLowerCase().replace(/[^a-z0-9_]+/g, "_") || "new";
  return laidOut({ dag_id: id, source, destination: { type: "duckdb", table: id, write_disposition: "replace" } });
}
