import { Badge, Box, Button, Code, Flex, Stack, Text } from "@chakra-ui/react";
import { useMemo, useState } from "react";
import { strings } from "../strings";
import { compare, type Change } from "./changes";
import { touchesPinned } from "./form/context";
import { oneLine, retext } from "./json/edit";
import type { FieldChangesProps, Json, Pinned } from "./types";

const words = strings.draft;
const NOTHING_PINNED: Pinned = {};
const palettes = { add: "green", remove: "red", change: "blue", move: "purple" } as const;
type Decision = "accepted" | "rejected";

/** The fields in which two configs differ, each to be accepted or rejected. Give it a `key` for each new pair. */
export function FieldChanges({
  before,
  after,
  text,
  pinned = NOTHING_PINNED,
  onDone,
  busy = false,
}: FieldChangesProps) {
  const { changes, result } = useMemo(() => compare(before, after), [before, after]);
  const [decisions, setDecisions] = useState<ReadonlyMap<string, Decision>>(new Map());
  const locked = (change: Change): boolean =>
    touchesPinned(pinned, change.pointer) || (change.from !== undefined && touchesPinned(pinned, change.from));
  const free = changes.filter((change) => !locked(change));
  const count = (decision: Decision): number => free.filter(({ id }) => decisions.get(id) === decision).length;
  const [accepted, rejected] = [count("accepted"), count("rejected")];
  const finish = (taken: readonly Change[]): void => {
    const config = result(new Set(taken.map(({ id }) => id)));
    onDone({
      config,
      text: retext(text ?? "", config),
      accepted: taken.length,
      rejected: changes.length - taken.length,
    });
  };
  if (!changes.length) return <Text color="fg.muted">{words.noChanges}</Text>;
  const open = free.length - accepted - rejected;
  return (
    <Box aria-label={words.changes} role="group">
      <Flex
        align="center"
        bg="bg"
        borderBottomWidth="1px"
        gap={2}
        mb={3}
        position="sticky"
        py={2}
        top={0}
        wrap="wrap"
        zIndex="docked"
      >
        <Text aria-live="polite" flex={1} fontSize="sm" minW="12rem">
          {words.changed(changes.length)}: {words.decided(accepted, rejected, open)}
        </Text>
        <Button
          colorPalette="brand"
          disabled={busy || !free.length}
          onClick={() => finish(free)}
          size="xs"
          variant={accepted + rejected > 0 ? "outline" : "solid"}
        >
          {words.acceptAll}
        </Button>
        <Button disabled={busy} onClick={() => finish([])} size="xs" variant="outline">
          {words.rejectAll}
        </Button>
        {accepted + rejected > 0 && (
          <Button
            colorPalette="brand"
            disabled={busy || open > 0}
            onClick={() => finish(free.filter(({ id }) => decisions.get(id) === "accepted"))}
            size="xs"
          >
            {words.finish(accepted)}
          </Button>
        )}
      </Flex>
      <Stack as="ul" gap={2} listStyleType="none">
        {changes.map((change) => (
          <ChangeRow
            busy={busy}
            change={change}
            decision={decisions.get(change.id)}
            key={change.id}
            locked={locked(change)}
            onDecide={(decision) => setDecisions(new Map(decisions).set(change.id, decision))}
          />
        ))}
      </Stack>
    </Box>
  );
}

interface ChangeRowProps {
  readonly change: Change;
  readonly decision: Decision | undefined;
  readonly locked: boolean;
  readonly busy: boolean;
  readonly onDecide: (decision: Decision) => void;
}

function ChangeRow({ change, decision, locked, busy, onDecide }: ChangeRowProps) {
  const { op, pointer, from, before, after } = change;
  const button = (wanted: Decision, label: string, name: string) => (
    <Button
      aria-label={name}
      aria-pressed={decision === wanted}
      colorPalette={decision === wanted ? (wanted === "accepted" ? "green" : "red") : "gray"}
      disabled={busy}
      onClick={() => onDecide(wanted)}
      size="xs"
      variant={decision === wanted ? "surface" : "outline"}
    >
      {label}
    </Button>
  );
  return (
    <Box as="li" borderRadius="md" borderWidth="1px" p={2}>
      <Flex align="center" gap={2} wrap="wrap">
        <Badge colorPalette={palettes[op]} size="sm">
          {words.ops[op]}
        </Badge>
        <Code flex={1} minW="8rem" overflowWrap="anywhere" variant="plain">
          {pointer}
          {from !== undefined && ` ${words.movedFrom(from)}`}
        </Code>
        {locked ? (
          <Text color="fg.muted" fontSize="xs">
            {words.pinnedChange}
          </Text>
        ) : (
          <Flex gap={1}>
            {button("accepted", words.accept, words.acceptOf(pointer, words.ops[op]))}
            {button("rejected", words.reject, words.rejectOf(pointer, words.ops[op]))}
          </Flex>
        )}
      </Flex>
      {before !== undefined && (
        <Value label={words.before} struck={decision === "accepted" && op !== "move"} value={before} />
      )}
      {after !== undefined && op !== "move" && (
        <Value label={words.after} struck={decision === "rejected"} value={after} />
      )}
    </Box>
  );
}

function Value({ label, value, struck }: { label: string; value: Json; struck: boolean }) {
  const [long, short] = [retext("", value).trimEnd(), oneLine(value)];
  return (
    <Flex fontSize="sm" gap={2} mt={1}>
      <Text color="fg.muted" flexShrink={0} fontSize="xs" lineHeight="1.7" width="3.5rem">
        {label}
      </Text>
      <Box
        as="pre"
        flex={1}
        fontFamily="mono"
        fontSize="xs"
        maxH="14em"
        minW={0}
        overflow="auto"
        overflowWrap="anywhere"
        textDecoration={struck ? "line-through" : undefined}
        whiteSpace="pre-wrap"
      >
        {short.length < 80 ? short : long}
      </Box>
    </Flex>
  );
}
