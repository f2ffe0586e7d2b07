import { Alert, HStack, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { api, newKey } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Confirm } from "../../ui/Confirm";
import { GatedButton } from "../../ui/GatedButton";
import { Pager } from "../../ui/Pager";
import { Empty, Loaded } from "../../ui/states";
import { LettersTable } from "./LettersTable";
import { pipelineUrl } from "./links";
import type { Letters } from "./shapes";

const words = strings.pipeline.letters;
const SIZE = 25;

/** Records that were set aside: why, where they come from, and how to run them through the pipeline again. */
export function DeadLetters({ dagId, why }: { dagId: string; why: string | null }) {
  const [offset, setOffset] = useState(0);
  const [chosen, setChosen] = useState<string[]>([]);
  const [asked, setAsked] = useState<string[] | "all" | null>(null);
  const [told, setTold] = useState("");
  const url = `${pipelineUrl(dagId)}/dead-letters`;
  const letters = useQuery<Letters>(`${url}?limit=${SIZE}&offset=${offset}`);
  const replay = useAct(async (which: string[] | "all") => {
    const body = which === "all" ? {} : { ids: which };
    const done = await api<{ replayed: number; rejected: number }>(`${url}/replay`, { method: "POST", body, key: newKey() });
    setTold(words.replayed(done.replayed, done.rejected));
    setAsked(null);
    setChosen([]);
    letters.reload();
  });
  return (
    <Stack gap={4}>
      {told && (
        <Alert.Root role="status" status="success">
          <Alert.Indicator />
          <Alert.Title>{told}</Alert.Title>
        </Alert.Root>
      )}
      <Loaded query={letters}>
        {({ total, pending, letters: found }) =>
          total === 0 ? (
            <Empty title={words.empty}>
              <Text color="fg.muted">{words.emptyHelp}</Text>
            </Empty>
          ) : (
            <>
              <HStack wrap="wrap">
                <GatedButton
                  onClick={() => setAsked(chosen)}
                  size="sm"
                  variant="outline"
                  why={why ?? (chosen.length === 0 ? words.chooseFirst : null)}
                >
                  {chosen.length === 0 ? words.replayNone : words.replayChosen(chosen.length)}
                </GatedButton>
                <GatedButton
                  onClick={() => setAsked("all")}
                  size="sm"
                  variant="outline"
                  why={why ?? (pending === 0 ? words.noneWaits : null)}
                >
                  {words.replayAll}
                </GatedButton>
                <Text color="fg.muted" fontSize="sm">
                  {words.waiting(pending, total)}
                </Text>
              </HStack>
              <LettersTable chosen={chosen} letters={found} onChoose={setChosen} />
              <Pager offset={offset} onMove={setOffset} size={SIZE} total={total} />
            </>
          )
        }
      </Loaded>
      {asked && (
        <Confirm
          action={words.replay}
          busy={replay.busy}
          error={replay.error}
          onClose={() => setAsked(null)}
          onConfirm={() => void replay.run(asked)}
          title={asked === "all" ? words.replayAll : words.replayChosen(asked.length)}
        >
          <Text>{words.replayHelp}</Text>
        </Confirm>
      )}
    </Stack>
  );
}
