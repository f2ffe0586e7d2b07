import { Code, Stack, Text } from "@chakra-ui/react";

import type { Forms } from "../../api/client";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Failure, Loading } from "../../ui/states";
import type { Trial } from "./Trying";
import { usePost } from "./usePost";

const words = strings.author;

/** Every value that would be in force, and where it comes from: the draft, a folder's defaults, or our own. */
export function EffectiveTab({ text, file, dagId }: Trial) {
  const found = usePost<Forms["ValuesForm"]>("/effective", { text, file, dag_id: dagId });
  return (
    <Stack gap={3}>
      <Text color="fg.muted" fontSize="sm">{words.effectiveHelp}</Text>
      {found.error && <Failure error={found.error} onRetry={found.reload} />}
      {found.loading && <Loading />}
      {found.data && (
        <DataTable
          columns={[
            { name: "pointer", header: words.key, cell: (one) => <Code size="sm">{one.pointer}</Code> },
            { name: "value", header: words.value, cell: (one) => <Code overflowWrap="anywhere" size="sm" whiteSpace="normal">{JSON.stringify(one.value)}</Code> },
            { name: "origin", header: words.origin, cell: (one) => one.origin },
          ]}
          keyOf={(one) => one.pointer}
          label={words.tabs.effective}
          maxH="60vh"
          rows={found.data.values}
        />
      )}
    </Stack>
  );
}
