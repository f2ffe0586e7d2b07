import { Button, Flex, NativeSelect, Text } from "@chakra-ui/react";
import { useState, type ReactNode } from "react";

import { strings } from "../../strings";

const words = strings.author;

export interface Trial {
  text: string;
  file: string;
  /** Of a config that makes several pipelines: which. */
  dagId: string;
}

interface TryingProps {
  text: string;
  file: string;
  /** null: the checks are at work. */
  valid: boolean | null;
  /** The pipelines that it makes. */
  dagIds: string[];
  blocked: string | null;
  children: (trial: Trial) => ReactNode;
}

/** Tries the text as it is when the tab is opened; again only when the person says so, since it reads data. */
export function Trying({ text, file, valid, dagIds, blocked, children }: TryingProps) {
  const [chosen, setChosen] = useState("");
  const [tried, setTried] = useState<string | null>(valid ? text : null);
  if (blocked) return <Text color="fg.muted">{blocked}</Text>;
  if (tried === null && valid) setTried(text);
  const dagId = dagIds.length > 1 ? (dagIds.includes(chosen) ? chosen : dagIds[0] ?? "") : "";
  const stale = tried !== null && tried !== text;
  return (
    <>
      {stale && (
        <Flex align="center" gap={3} mb={3} wrap="wrap">
          <Text color="fg.muted" fontSize="sm">{words.changedSince}</Text>
          <Button disabled={!valid} onClick={() => setTried(text)} size="xs" variant="outline">{words.tryAgain}</Button>
        </Flex>
      )}
      {tried === null && <Text color="fg.muted">{valid === false ? words.mendFirst : words.checking}</Text>}
      {dagIds.length > 1 && (
        <NativeSelect.Root mb={3} size="xs" w="auto">
          <NativeSelect.Field aria-label={words.whichPipeline} onChange={(event) => setChosen(event.target.value)} value={dagId}>
            {dagIds.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
      )}
      {tried !== null && children({ text: tried, file, dagId })}
    </>
  );
}
