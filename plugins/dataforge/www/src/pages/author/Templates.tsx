import { Box, Flex, Input, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import type { JsonObject } from "../../draft";
import { strings } from "../../strings";
import { Failure, Loading } from "../../ui/states";
import { GatedButton } from "../../ui/GatedButton";
import { laidOut } from "./draft";
import { Fold } from "./Fold";

const words = strings.author;
const SHOWN = 8;

interface TemplatesProps {
  use: (text: string) => void;
  isOpen: boolean;
  blocked: string | null;
}

/** Pipelines to begin with, by what they do; they need no model. */
export function Templates({ use, isOpen, blocked }: TemplatesProps) {
  const [wanted, setWanted] = useState(isOpen);
  const examples = useQuery<Forms["ExamplesForm"]>(wanted ? "/examples" : null);
  const [search, setSearch] = useState("");
  const found = matching(examples.data?.examples ?? [], search);
  return (
    <Fold isOpen={isOpen} onToggle={(open) => open && setWanted(true)} title={words.templates}>
      <Input aria-label={words.templateSearch} onChange={(event) => setSearch(event.target.value)} placeholder={words.templateSearch} size="sm" type="search" value={search} />
      {examples.error && <Failure error={examples.error} onRetry={examples.reload} />}
      {examples.loading && <Loading />}
      {examples.data && found.length === 0 && <Text color="fg.muted" fontSize="sm">{words.templateNone}</Text>}
      <Stack as="ul" gap={2} listStyleType="none">
        {found.slice(0, SHOWN).map((one) => (
          <Flex as="li" gap={3} justify="space-between" key={one.id}>
            <Box fontSize="sm" minW={0}>
              <Text fontWeight="medium">{one.id}</Text>
              <Text color="fg.muted" lang={one.language} overflowWrap="anywhere">{one.request}</Text>
            </Box>
            <GatedButton aria-label={words.useTemplate(one.id)} flexShrink={0} onClick={() => use(laidOut(one.config as JsonObject))} size="xs" variant="outline" why={blocked}>
              {words.use}
            </GatedButton>
          </Flex>
        ))}
      </Stack>
      {found.length > SHOWN && <Text color="fg.muted" fontSize="xs">{words.templateMore(found.length - SHOWN)}</Text>}
    </Fold>
  );
}

type Example = Forms["ExampleForm"];

/** Return the examples that hold every word of a search. */
export function matching(examples: Example[], search: string): Example[] {
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  return examples.filter((one) => {
    const text = `${one.id} ${one.request} ${JSON.stringify(one.config)}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}
