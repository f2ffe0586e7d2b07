import { Flex, IconButton } from "@chakra-ui/react";
import { strings } from "../../strings";
import { LockIcon, PinIcon, RemoveIcon } from "../icons";
import type { Json } from "../types";
import { useForm } from "./context";

const words = strings.draft;

interface PinProps {
  readonly label: string;
  readonly pointer: string;
  readonly value: Json | undefined;
  readonly pinned: boolean;
  readonly own: boolean;
}

/** Says that a value is pinned, or pins it. */
export function Pin({ label, pointer, value, pinned, own }: PinProps) {
  const { onPin, readOnly } = useForm();
  if (pinned) {
    return (
      <Flex align="center" color="fg.muted" fontSize="xs" gap={1}>
        <LockIcon /> {words.pinned}
        {own && onPin && !readOnly && (
          <IconButton
            aria-label={words.unpin(label)}
            onClick={() => onPin(pointer, undefined)}
            size="2xs"
            variant="ghost"
          >
            <RemoveIcon />
          </IconButton>
        )}
      </Flex>
    );
  }
  if (!onPin || readOnly || value === undefined) return null;
  return (
    <IconButton
      aria-label={words.pin(label)}
      color="fg.muted"
      onClick={() => onPin(pointer, value)}
      size="2xs"
      title={words.pin(label)}
      variant="ghost"
    >
      <PinIcon />
    </IconButton>
  );
}
