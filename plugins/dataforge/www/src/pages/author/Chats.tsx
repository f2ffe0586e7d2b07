import { Button, Flex, HStack, IconButton, Input, Stack, Text } from "@chakra-ui/react";
import { useEffect, useState } from "react";

import { api, send } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { DownloadIcon, RemoveIcon } from "../../draft/icons";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { Time } from "../../ui/Time";
import { Fold } from "./Fold";
import { useRested } from "./query";
import type { Chat } from "./shapes";

const words = strings.author;
const SHOWN = 10;

interface ChatsProps {
  chat: string;
  onChoose: (chat: string) => void;
  /** Changes when something was said: the list is asked for again. */
  turn: number;
}

/** Earlier conversations: search, take up, save as a file, delete. */
export function Chats({ chat, onChoose, turn }: ChatsProps) {
  const [search, setSearch] = useState("");
  const sought = useRested(search.trim());
  const asked = sought && `?${new URLSearchParams({ search: sought })}`;
  const [wanted, setWanted] = useState(false);
  const chats = useQuery<{ chats: Chat[] }>(wanted ? `/chats${asked}` : null);
  const { reload } = chats;
  useEffect(() => {
    if (turn) reload();
  }, [turn, reload]);
  const act = useAct(async (id: string, what: "delete" | "export") => {
    if (what === "export") return exported(id);
    await api(`/chats/${id}`, { method: "DELETE" });
    if (id === chat) onChoose("");
    chats.reload();
  });
  const found = chats.data?.chats ?? [];
  return (
    <Fold count={found.length} onToggle={(open) => open && setWanted(true)} title={words.chats}>
      <HStack>
        <Input aria-label={words.chatSearch} onChange={(event) => setSearch(event.target.value)} placeholder={words.chatSearch} size="sm" type="search" value={search} />
        <Button disabled={!chat} onClick={() => onChoose("")} size="sm" variant="outline">
          {words.newChat}
        </Button>
      </HStack>
      {(chats.error ?? act.error) && <Failure error={(chats.error ?? act.error) as Error} onRetry={chats.reload} />}
      {chats.data && found.length === 0 && <Text color="fg.muted" fontSize="sm">{words.noChats}</Text>}
      <Stack as="ul" gap={1} listStyleType="none">
        {found.slice(0, SHOWN).map((one) => (
          <Flex align="center" as="li" fontSize="sm" gap={1} key={one.id}>
            <Button aria-current={one.id === chat} flex={1} fontWeight={one.id === chat ? "bold" : "normal"} justifyContent="start" minW={0} onClick={() => onChoose(one.id)} size="xs" variant="ghost">
              <Text as="span" truncate>{one.title}</Text>
            </Button>
            <Text color="fg.muted" fontSize="xs"><Time at={one.updated_at} /></Text>
            <IconButton aria-label={words.exportChat(one.title)} onClick={() => void act.run(one.id, "export")} size="2xs" title={words.export} variant="ghost"><DownloadIcon /></IconButton>
            <IconButton aria-label={words.deleteChat(one.title)} onClick={() => void act.run(one.id, "delete")} size="2xs" title={words.delete} variant="ghost"><RemoveIcon /></IconButton>
          </Flex>
        ))}
      </Stack>
    </Fold>
  );
}

async function exported(id: string): Promise<void> {
  const response = await send(`/chats/${id}/export`, { accept: "text/markdown" });
  const url = URL.createObjectURL(await response.blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: `conversation-${id.slice(0, 8)}.md` });
  link.click();
  URL.revokeObjectURL(url);
}
