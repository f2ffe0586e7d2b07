import { Flex, IconButton, Stack, Text } from "@chakra-ui/react";
import { useEffect, useRef } from "react";
import { Link } from "react-router-dom";

import { api } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { RemoveIcon } from "../../draft/icons";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { Time } from "../../ui/Time";
import { Fold } from "./Fold";
import type { KeptDraft } from "./shapes";

const words = strings.author;
type Listed = Pick<KeptDraft, "id" | "name" | "file" | "updated_at">;

/** Drafts that this person has not deployed yet, those of the same file first. */
export function Drafts({ file, current }: { file: string; current: string | null }) {
  const drafts = useQuery<{ drafts: Listed[] }>("/drafts");
  const { reload } = drafts;
  const seen = useRef(current);
  useEffect(() => {
    if (seen.current === current) return;
    seen.current = current;
    reload();
  }, [current, reload]);
  const remove = useAct(async (id: string) => {
    await api(`/drafts/${id}`, { method: "DELETE" });
    reload();
  });
  const others = (drafts.data?.drafts ?? []).filter((one) => one.id !== current);
  const found = others.sort((a, b) => Number(b.file === file && file !== "") - Number(a.file === file && file !== ""));
  if (found.length === 0 && !drafts.error) return null;
  return (
    <Fold count={found.length} isOpen={file !== "" && found[0]?.file === file} title={words.drafts}>
      {(drafts.error ?? remove.error) && <Failure error={(drafts.error ?? remove.error) as Error} onRetry={reload} />}
      <Stack as="ul" gap={1} listStyleType="none" maxH="14rem" overflowY="auto">
        {found.map((one) => (
          <Flex align="center" as="li" fontSize="sm" gap={2} key={one.id}>
            <Link to={`${one.file ? paths.edit(one.file) : paths.create()}?draft=${one.id}`}>
              <Text as="span" overflowWrap="anywhere" textDecoration="underline">{one.name}</Text>
            </Link>
            <Text color="fg.muted" flex={1} fontSize="xs"><Time at={one.updated_at} /></Text>
            <IconButton aria-label={words.deleteDraft(one.name)} loading={remove.busy} onClick={() => void remove.run(one.id)} size="2xs" variant="ghost"><RemoveIcon /></IconButton>
          </Flex>
        ))}
      </Stack>
    </Fold>
  );
}
