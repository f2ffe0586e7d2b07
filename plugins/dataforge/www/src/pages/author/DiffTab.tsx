import { Stack, Text } from "@chakra-ui/react";

import { strings } from "../../strings";
import { TextDiff } from "../../ui/TextDiff";
import type { Base } from "./draft";

const words = strings.author;

/** What deploying the draft would change of the config in force. */
export function DiffTab({ base, text }: { base: Base; text: string }) {
  return (
    <Stack gap={3}>
      <Text color="fg.muted" fontSize="sm">{base.digest ? words.diffHelp : words.diffNew}</Text>
      <TextDiff after={text} before={base.text} label={words.tabs.diff} />
    </Stack>
  );
}
