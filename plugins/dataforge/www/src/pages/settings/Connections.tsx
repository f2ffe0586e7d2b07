import { Alert, Badge, HStack, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { type Forms, api } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { GatedButton } from "../../ui/GatedButton";
import { Empty, Failure, Loaded } from "../../ui/states";
import { Time } from "../../ui/Time";
import type { Check, Me } from "./shapes";

const words = strings.settings.connections;
const PALETTES = { ok: "green", failed: "red", unknown: "gray", running: "blue" };
const EVERY_MS = 3_000;
/** With more connections than this, the last result of each is asked for only when somebody checks it. */
const FEW = 10;

/** The connections that configs may name, and whether each can be reached from where tasks run. */
export function Connections({ me }: { me: Me }) {
  const list = useQuery<Forms["ConnectionsForm"]>(me.edits ? "/connections" : null);
  if (!me.edits) return <Empty description={words.needsEdit} title={words.hidden} />;
  return (
    <Loaded query={list}>
      {({ connections, complete, notes }) => (
        <Stack gap={3}>
          {[...notes, ...(complete ? [] : [words.others])].map((note) => (
            <Alert.Root key={note} status="info">
              <Alert.Indicator />
              <Alert.Description>{note}</Alert.Description>
            </Alert.Root>
          ))}
          {connections.length === 0 ? (
            <Empty description={words.emptyHelp} title={words.empty} />
          ) : (
            <DataTable
              columns={[
                { name: "id", header: words.id, cell: (one) => one.id },
                { name: "type", header: words.type, cell: (one) => one.type },
                { name: "check", header: words.check, cell: (one) => <Reach ask={connections.length <= FEW} id={one.id} /> },
              ]}
              keyOf={(one) => one.id}
              label={words.title}
              rows={connections}
            />
          )}
        </Stack>
      )}
    </Loaded>
  );
}

/** The last check of a connection, and a button for a new one, which is watched to its end. */
function Reach({ id, ask }: { id: string; ask: boolean }) {
  const url = `/connections/${encodeURIComponent(id)}/check`;
  const [wanted, setWanted] = useState(ask);
  const [every, setEvery] = useState<number>();
  const check = useQuery<Check>(wanted ? url : null, { every });
  const running = check.data?.state === "running" ? EVERY_MS : undefined;
  if (running !== every) setEvery(running);
  const start = useAct(async () => {
    await api<Check>(url, { method: "POST" });
    setWanted(true);
    check.reload();
  });
  const error = start.error ?? check.error;
  return (
    <Stack gap={1} minW="220px">
      <HStack wrap="wrap">
        <GatedButton
          aria-label={words.checkOf(id)}
          loading={start.busy || running !== undefined}
          onClick={() => void start.run()}
          size="xs"
          variant="outline"
          why={null}
        >
          {words.start}
        </GatedButton>
        {check.data && (
          <HStack role="status">
            <Badge colorPalette={PALETTES[check.data.state]}>{words.states[check.data.state]}</Badge>
            {check.data.checked_at && (
              <Text color="fg.muted" fontSize="xs">
                <Time at={check.data.checked_at} />
              </Text>
            )}
          </HStack>
        )}
      </HStack>
      {check.data?.message && (
        <Text fontSize="xs" overflowWrap="anywhere">
          {check.data.message}
        </Text>
      )}
      {error && <Failure error={error} />}
    </Stack>
  );
}
