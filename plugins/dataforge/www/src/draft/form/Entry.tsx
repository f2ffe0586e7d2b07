import { Badge, Box, Flex, IconButton, Stack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { strings } from "../../strings";
import { summaryOf } from "../graph";
import { DownIcon, OpenIcon, RemoveIcon, ShutIcon, UpIcon } from "../icons";
import { isObject } from "../json/value";
import type { Finding, Json } from "../types";
import { useOpen } from "./context";

const words = strings.draft;

interface EntryProps {
  readonly pointer: string;
  /** What buttons call it: "Transforms 2". */
  readonly name: string;
  /** What its head begins with: its number or name. */
  readonly title: string;
  readonly value: Json | undefined;
  readonly findings: readonly Finding[];
  readonly opened: boolean;
  readonly buttons: ReactNode;
  readonly children: ReactNode;
}

/** An item of a list or map that has fields of its own: a card that opens. */
function Entry({ pointer, name, title, value, findings, opened, buttons, children }: EntryProps) {
  const [open, setOpen] = useOpen(pointer, opened);
  const worst = findings.some(({ severity }) => severity === "error") ? "red" : "orange";
  const [type, summary] = isObject(value)
    ? [typeof value.type === "string" ? value.type : "", summaryOf(value)]
    : ["", JSON.stringify(value)];
  return (
    <Box borderRadius="md" borderWidth="1px" data-place={pointer}>
      <Flex align="center" gap={1} px={2} py={1}>
        <IconButton
          aria-expanded={open}
          aria-label={open ? words.shut(name) : words.open(name)}
          onClick={() => setOpen(!open)}
          size="2xs"
          variant="ghost"
        >
          {open ? <ShutIcon /> : <OpenIcon />}
        </IconButton>
        <Text flexShrink={0} fontSize="sm" fontWeight="medium">
          {title} {type}
        </Text>
        <Text color="fg.muted" flex={1} fontSize="sm" minW={0} truncate>
          {summary}
        </Text>
        {findings.length > 0 && (
          <Badge colorPalette={worst} flexShrink={0} size="sm">
            {words.findings(findings.length)}
          </Badge>
        )}
        {buttons}
      </Flex>
      {open && (
        <Box borderTopWidth="1px" p={3}>
          {children}
        </Box>
      )}
    </Box>
  );
}

interface ItemProps extends EntryProps {
  /** One value, which stands in a line of its own. */
  readonly simple: boolean;
  /** What stands before the value: the name under which a map has it. */
  readonly head?: ReactNode;
}

/** An item of a list or map: a line where it is one value, a card where it has fields of its own. */
export function Item({ simple, head, children, ...entry }: ItemProps) {
  if (!simple) return <Entry {...entry}>{head ? <Stack gap={2}>{head}{children}</Stack> : children}</Entry>;
  return (
    <Flex align="start" gap={1}>
      {head && (
        <Box flexShrink={0} width="35%">
          {head}
        </Box>
      )}
      <Box flex={1} minW={0}>
        {children}
      </Box>
      {entry.buttons}
    </Flex>
  );
}

interface MoveButtonsProps {
  readonly name: string;
  readonly onUp?: () => void;
  readonly onDown?: () => void;
  readonly onRemove: () => void;
}

export function MoveButtons({ name, onUp, onDown, onRemove }: MoveButtonsProps) {
  return (
    <Flex flexShrink={0}>
      <IconButton aria-label={words.moveUp(name)} disabled={!onUp} onClick={onUp} size="2xs" variant="ghost">
        <UpIcon />
      </IconButton>
      <IconButton aria-label={words.moveDown(name)} disabled={!onDown} onClick={onDown} size="2xs" variant="ghost">
        <DownIcon />
      </IconButton>
      <RemoveButton name={name} onClick={onRemove} />
    </Flex>
  );
}

export function RemoveButton({ name, onClick }: { name: string; onClick: () => void }) {
  return (
    <IconButton aria-label={words.removeItem(name)} flexShrink={0} onClick={onClick} size="2xs" variant="ghost">
      <RemoveIcon />
    </IconButton>
  );
}
