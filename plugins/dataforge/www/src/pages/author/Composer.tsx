import { Button, Field, Flex, HStack, NativeSelect, SegmentGroup, Stack, Textarea } from "@chakra-ui/react";
import { useState, type KeyboardEvent } from "react";

import type { Forms } from "../../api/client";
import { strings } from "../../strings";
import { GatedButton } from "../../ui/GatedButton";
import type { Mode } from "./shapes";

const words = strings.author;
const [LEAST, MOST] = [10, 5_000];
const MODES: Mode[] = ["edit", "plan", "ask"];

export interface Wish {
  request: string;
  mode: Mode;
  /** "connection/model"; "" for the deployment's choice. */
  model: string;
  /** Mend the draft in place of doing what the words say. */
  repair?: boolean;
}

interface ComposerProps {
  /** Calls `onBegun` when the wish has arrived: until then the words are kept. */
  send: (wish: Wish, onBegun: () => void) => Promise<void>;
  models: Forms["ModelsForm"] | undefined;
  hasDraft: boolean;
  invalid: boolean;
  busy: boolean;
  blocked: string | null;
}

/** The words for the model, in which mode, and which model. */
export function Composer({ send, models, hasDraft, invalid, busy, blocked }: ComposerProps) {
  const [request, setRequest] = useState("");
  const [mode, setMode] = useState<Mode>("edit");
  const [model, setModel] = useState("");
  const said = request.trim();
  const why = blocked ?? lengthProblem(said);
  const submit = async () => {
    if (why || busy) return;
    await send({ request: said, mode, model }, () => setRequest(""));
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void submit();
  };
  return (
    <Stack as="form" gap={3} onSubmit={(event) => (event.preventDefault(), void submit())}>
      <Field.Root disabled={blocked !== null} invalid={said.length > MOST}>
        <Field.Label>{hasDraft ? words.askChange : words.askNew}</Field.Label>
        <Textarea
          autoresize
          maxH="20rem"
          onChange={(event) => setRequest(event.target.value)}
          onKeyDown={onKey}
          placeholder={hasDraft ? words.placeholderChange : words.placeholderNew}
          rows={3}
          value={request}
        />
        <Field.HelperText>{blocked ?? words.modeHelp[mode]}</Field.HelperText>
        <Field.ErrorText>{why}</Field.ErrorText>
      </Field.Root>
      <Flex align="end" gap={3} wrap="wrap">
        <SegmentGroup.Root aria-label={words.mode} disabled={blocked !== null} onValueChange={(one) => setMode(one.value as Mode)} size="sm" value={mode}>
          <SegmentGroup.Indicator />
          {MODES.map((one) => (
            <SegmentGroup.Item key={one} value={one}>
              <SegmentGroup.ItemText>{words.modes[one]}</SegmentGroup.ItemText>
              <SegmentGroup.ItemHiddenInput />
            </SegmentGroup.Item>
          ))}
        </SegmentGroup.Root>
        <ModelChoice model={model} models={models} setModel={setModel} />
        <HStack ms="auto">
          {invalid && (
            <Button disabled={blocked !== null || busy} onClick={() => void send({ request: "", mode, model, repair: true }, () => {})} size="sm" type="button" variant="outline">
              {words.repairWithModel}
            </Button>
          )}
          <GatedButton colorPalette="brand" loading={busy} size="sm" type="submit" why={busy ? null : why}>
            {words.send}
          </GatedButton>
        </HStack>
      </Flex>
    </Stack>
  );
}

function lengthProblem(said: string): string | null {
  if (said.length < LEAST) return words.tooShort(LEAST);
  return said.length > MOST ? words.tooLong(said.length, MOST) : null;
}

interface ModelChoiceProps {
  models: Forms["ModelsForm"] | undefined;
  model: string;
  setModel: (model: string) => void;
}

function ModelChoice({ models, model, setModel }: ModelChoiceProps) {
  const offered = (models?.connections ?? []).flatMap((one) =>
    one.models.map(({ name }) => ({ value: `${one.connection}/${name}`, label: `${name} (${one.connection})` })),
  );
  if (offered.length === 0) return null;
  return (
    <NativeSelect.Root size="sm" w="auto">
      <NativeSelect.Field aria-label={words.model} onChange={(event) => setModel(event.target.value)} value={model}>
        <option value="">{words.modelAuto}</option>
        {offered.map((one) => (
          <option key={one.value} value={one.value}>
            {one.label}
          </option>
        ))}
      </NativeSelect.Field>
      <NativeSelect.Indicator />
    </NativeSelect.Root>
  );
}
