import { Button, HStack, Text } from "@chakra-ui/react";
import { strings } from "../strings";

interface PagerProps {
  offset: number;
  size: number;
  total: number;
  onMove: (offset: number) => void;
}

/** Which part of a long list is shown, and the ways to the others; nothing when all of it is. */
export function Pager({ offset, size, total, onMove }: PagerProps) {
  if (total <= size) return null;
  return (
    <HStack as="nav" aria-label={strings.pager.label} justify="space-between">
      <Button disabled={offset === 0} onClick={() => onMove(Math.max(0, offset - size))} size="xs" variant="outline">
        {strings.pager.previous}
      </Button>
      <Text color="fg.muted" fontSize="sm">
        {strings.pager.shown(offset + 1, Math.min(offset + size, total), total)}
      </Text>
      <Button disabled={offset + size >= total} onClick={() => onMove(offset + size)} size="xs" variant="outline">
        {strings.pager.next}
      </Button>
    </HStack>
  );
}
