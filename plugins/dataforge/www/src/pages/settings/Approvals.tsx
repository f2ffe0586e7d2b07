import { Badge, Button, Card, HStack, Heading, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { api } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Confirm } from "../../ui/Confirm";
import { Findings } from "../../ui/Findings";
import { GatedButton } from "../../ui/GatedButton";
import { Empty, Loaded } from "../../ui/states";
import { UnifiedDiff } from "../../ui/TextDiff";
import { Time } from "../../ui/Time";
import type { Approval, Me, WholeApproval } from "./shapes";

const words = strings.settings.approvals;

/** Changes that another person has to look at before they come into force. */
export function Approvals({ me }: { me: Me }) {
  const waiting = useQuery<{ approvals: Approval[] }>("/approvals?state=pending");
  const [asked, setAsked] = useState<{ one: Approval; approve: boolean } | null>(null);
  const decide = useAct(async (comment: string) => {
    if (!asked) return;
    await api(`/approvals/${asked.one.id}`, { method: "POST", body: { approve: asked.approve, comment } });
    setAsked(null);
    waiting.reload();
  });
  const ask = (one: Approval, approve: boolean) => {
    decide.forget();
    setAsked({ one, approve });
  };
  return (
    <Stack gap={4}>
      <Text color="fg.muted" fontSize="sm">
        {me.approval_required ? words.on : words.off}
      </Text>
      <Loaded query={waiting}>
        {({ approvals }) =>
          approvals.length === 0 ? (
            <Empty title={words.empty} />
          ) : (
            approvals.map((one) => <Waiting key={one.id} me={me} onAsk={(approve) => ask(one, approve)} one={one} />)
          )
        }
      </Loaded>
      {asked && (
        <Confirm
          action={asked.approve ? words.approve : asked.one.mine ? words.withdraw : words.reject}
          ask={words.comment}
          busy={decide.busy}
          error={decide.error}
          onClose={() => setAsked(null)}
          onConfirm={(comment) => void decide.run(comment)}
          palette={asked.approve ? "brand" : "red"}
          title={asked.one.file}
        >
          <Text>{asked.approve ? words.approveHelp : words.rejectHelp}</Text>
        </Confirm>
      )}
    </Stack>
  );
}

function Waiting({ one, me, onAsk }: { one: Approval; me: Me; onAsk: (approve: boolean) => void }) {
  const [shown, setShown] = useState(false);
  const right = me.edits ? null : words.needsEdit;
  return (
    <Card.Root as="section" size="sm">
      <Card.Header>
        <HStack wrap="wrap">
          <Heading as="h2" overflowWrap="anywhere" size="sm">
            {one.file}
          </Heading>
          <Badge>{words.kinds[one.kind]}</Badge>
          <Text color="fg.muted" fontSize="sm">
            {one.actor} · <Time at={one.created_at} />
          </Text>
        </HStack>
      </Card.Header>
      <Card.Body fontSize="sm" gap={3}>
        {one.reason && <Text overflowWrap="anywhere">{one.reason}</Text>}
        {shown && <Change id={one.id} />}
      </Card.Body>
      <Card.Footer flexWrap="wrap">
        <Button aria-expanded={shown} onClick={() => setShown(!shown)} size="xs" variant="outline">
          {shown ? words.hide : words.show}
        </Button>
        <GatedButton colorPalette="brand" onClick={() => onAsk(true)} size="xs" why={right ?? (one.mine ? words.own : null)}>
          {words.approve}
        </GatedButton>
        <GatedButton onClick={() => onAsk(false)} size="xs" variant="outline" why={right}>
          {one.mine ? words.withdraw : words.reject}
        </GatedButton>
      </Card.Footer>
    </Card.Root>
  );
}

function Change({ id }: { id: string }) {
  const change = useQuery<WholeApproval>(`/approvals/${id}`);
  return (
    <Loaded query={change}>
      {(one) => (
        <Stack gap={3}>
          <Text overflowWrap="anywhere" whiteSpace="pre-wrap">
            {one.words}
          </Text>
          <UnifiedDiff diff={one.diff} label={words.show} />
          <Findings findings={one.findings} />
        </Stack>
      )}
    </Loaded>
  );
}
