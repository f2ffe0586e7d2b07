import { Alert, Button, HStack, Heading, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { Link as RouterLink } from "react-router-dom";
import { type Forms, newKey, request } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { FieldChanges, type FieldChangesResult, type JsonObject, readConfig } from "../../draft";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Failure, Loaded } from "../../ui/states";
import { fileUrl } from "./links";
import type { Pipeline } from "./shapes";

const words = strings.pipeline.fix;

interface Props {
  pipeline: Pipeline;
  run: string;
  /** The config as it is proposed; null when there is none. */
  after: JsonObject | null;
  onChanged: () => void;
}

/** The proposed change, field by field; what was accepted is deployed, unless somebody else changed the file. */
export function Proposal({ pipeline, run, after, onChanged }: Props) {
  const file = useQuery<Forms["ConfigForm"]>(fileUrl(pipeline.file));
  const [outcome, setOutcome] = useState<"deployed" | "waits" | "rejected" | null>(null);
  const deploy = useAct(async (result: FieldChangesResult, base: string) => {
    if (result.accepted === 0) return setOutcome("rejected");
    const body = { text: result.text, reason: words.reason(run) };
    const answer = await request(fileUrl(pipeline.file), { method: "PUT", body, ifMatch: base, key: newKey() });
    setOutcome(answer.status === 202 ? "waits" : "deployed");
    onChanged();
  });
  if (outcome) {
    return (
      <Alert.Root status={outcome === "rejected" ? "info" : "success"}>
        <Alert.Indicator />
        <Alert.Title>{words.outcomes[outcome]}</Alert.Title>
      </Alert.Root>
    );
  }
  return (
    <Loaded query={file}>
      {({ text, digest }) => {
        const before = readConfig(text);
        if (!before || !after || JSON.stringify(before) === JSON.stringify(after)) return <NoChange file={pipeline.file} />;
        return (
          <Stack gap={3}>
            <Heading as="h4" size="sm">
              {words.proposal}
            </Heading>
            {deploy.error && <Failure error={deploy.error} onRetry={file.reload} />}
            <FieldChanges
              after={after}
              before={before}
              busy={deploy.busy}
              onDone={(result) => void deploy.run(result, digest)}
              text={text}
            />
          </Stack>
        );
      }}
    </Loaded>
  );
}

function NoChange({ file }: { file: string }) {
  return (
    <HStack gap={4} wrap="wrap">
      <Text>{words.noChange}</Text>
      <Button asChild size="xs" variant="outline">
        <RouterLink to={paths.edit(file)}>{words.edit}</RouterLink>
      </Button>
    </HStack>
  );
}
