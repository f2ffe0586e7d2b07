import { Button, Field, Grid, HStack, IconButton, Input, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import type { Json, Pinned } from "../../draft";
import { RemoveIcon } from "../../draft/icons";
import { strings } from "../../strings";
import { valueOf } from "./draft";
import { Fold } from "./Fold";

const words = strings.author;
const USUAL = [
  "schedule", "timezone", "start_date", "dag_id", "owner", "tags", "/source/type", "/source/connection", "/source/path",
  "/source/table", "/destination/type", "/destination/connection", "/destination/table", "/destination/path",
  "/destination/write_disposition",
];

interface PinsProps {
  pinned: Pinned;
  onPin: (pointer: string, value: Json | undefined) => void;
  blocked: string | null;
}

/** Values that are certain: they go along with every request, and no model can change them. */
export function Pins({ pinned, onPin, blocked }: PinsProps) {
  const [key, setKey] = useState("");
  const [value, setValue] = useState("");
  const all = Object.entries(pinned);
  const add = () => {
    if (!key.trim() || !value.trim()) return;
    onPin(key.trim(), valueOf(value.trim()));
    setKey("");
    setValue("");
  };
  return (
    <Fold count={all.length} title={words.pins}>
      <Text color="fg.muted" fontSize="sm">{words.pinsHelp}</Text>
      <Stack as="ul" gap={1} listStyleType="none">
        {all.map(([pointer, one]) => (
          <HStack as="li" fontSize="sm" key={pointer}>
            <Text flex={1} minW={0} overflowWrap="anywhere">
              <b>{pointer}</b> = {JSON.stringify(one)}
            </Text>
            <IconButton aria-label={words.unpin(pointer)} disabled={blocked !== null} onClick={() => onPin(pointer, undefined)} size="2xs" variant="ghost">
              <RemoveIcon />
            </IconButton>
          </HStack>
        ))}
      </Stack>
      <Grid alignItems="end" as="form" gap={2} onSubmit={(event) => (event.preventDefault(), add())} templateColumns="1fr 1fr auto">
        <Field.Root disabled={blocked !== null}>
          <Field.Label fontSize="xs">{words.pinKey}</Field.Label>
          <Input list="dataforge-pins" onChange={(event) => setKey(event.target.value)} size="sm" value={key} />
        </Field.Root>
        <Field.Root disabled={blocked !== null}>
          <Field.Label fontSize="xs">{words.pinValue}</Field.Label>
          <Input onChange={(event) => setValue(event.target.value)} size="sm" value={value} />
        </Field.Root>
        <Button disabled={blocked !== null || !key.trim() || !value.trim()} size="sm" type="submit" variant="outline">
          {words.pin}
        </Button>
        <datalist id="dataforge-pins">
          {USUAL.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      </Grid>
    </Fold>
  );
}
