import { Code, HStack, Input, Stack, Switch, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Loaded } from "../../ui/states";
import { pipelineUrl } from "./links";
import type { Value } from "./shapes";

const words = strings.pipeline.effective;
const BUILT_IN = "built-in default";

/** Every value in force and where it was written: in the file, the folder's defaults, or nowhere. */
export function Effective({ dagId }: { dagId: string }) {
  const values = useQuery<{ values: Value[] }>(`${pipelineUrl(dagId)}/effective`);
  const [sought, setSought] = useState("");
  const [builtIn, setBuiltIn] = useState(false);
  const wanted = (one: Value) =>
    (builtIn || one.origin !== BUILT_IN) &&
    `${one.pointer} ${JSON.stringify(one.value)} ${one.origin}`.toLowerCase().includes(sought.trim().toLowerCase());
  return (
    <Loaded query={values}>
      {({ values: all }) => (
        <Stack gap={3}>
          <HStack gap={4} wrap="wrap">
            <Input
              aria-label={words.search}
              maxW="320px"
              onChange={(event) => setSought(event.target.value)}
              placeholder={words.search}
              size="sm"
              type="search"
              value={sought}
            />
            <Switch.Root checked={builtIn} onCheckedChange={({ checked }) => setBuiltIn(checked)} size="sm">
              <Switch.HiddenInput />
              <Switch.Control />
              <Switch.Label>{words.builtIn}</Switch.Label>
            </Switch.Root>
          </HStack>
          <DataTable
            columns={[
              { name: "pointer", header: words.pointer, cell: (one) => <Code size="xs">{one.pointer}</Code> },
              { name: "value", header: words.value, cell: (one) => <Shown value={one.value} /> },
              { name: "origin", header: words.origin, cell: (one) => <Text color="fg.muted">{one.origin}</Text> },
            ]}
            empty={words.noMatch}
            keyOf={(one) => one.pointer}
            label={words.title}
            maxH="420px"
            rows={all.filter(wanted)}
          />
        </Stack>
      )}
    </Loaded>
  );
}

function Shown({ value }: { value: unknown }) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return (
    <Text color={value === null ? "fg.muted" : undefined} fontFamily="mono" fontSize="xs" minW="160px" overflowWrap="anywhere">
      {text}
    </Text>
  );
}
