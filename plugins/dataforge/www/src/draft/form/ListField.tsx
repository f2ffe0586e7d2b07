import { Button, Flex, NativeSelect, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { strings } from "../../strings";
import { edits } from "../json/edit";
import { isList, under, within } from "../json/value";
import { starter } from "../schema/help";
import { deref, type Schema } from "../schema/resolve";
import type { Finding, Json } from "../types";
import { useForm } from "./context";
import { Item, MoveButtons } from "./Entry";
import { Field } from "./Field";
import { areSimple, converted, variantsOf } from "./variants";

const words = strings.draft;

interface ListFieldProps {
  readonly pointer: string;
  readonly schema: Schema;
  readonly label: string;
  readonly locked: boolean;
  readonly value: Json | undefined;
  readonly findings: readonly Finding[];
}

/** A list whose items can be added, removed and moved. */
export function ListField({ pointer, schema, label, locked, value, findings }: ListFieldProps) {
  const form = useForm();
  const items = isList(value) ? value : [];
  const item = deref(form.root, schema.items);
  const variants = variantsOf(form.root, item);
  const simple = areSimple(variants);
  const [picked, setPicked] = useState("");
  const [added, setAdded] = useState(-1);
  const variant = variants.find(({ id }) => id === picked) ?? variants[0];
  const add = (): void => {
    if (!variant) return;
    const fresh = variants.length > 1 ? converted(form.root, undefined, variant) : starter(form.root, item);
    form.change((text) => edits.insert(text, pointer, items.length, fresh));
    setAdded(items.length);
  };
  const move = (from: number, to: number): void => {
    form.change((text) => edits.move(text, pointer, from, to));
    setAdded(-1);
  };
  return (
    <Stack gap={2}>
      {items.map((each, index) => {
        const place = under(pointer, index);
        const name = words.item(label, index + 1);
        const found = findings.filter((finding) => within(finding.pointer, place));
        const buttons = locked ? null : (
          <MoveButtons
            name={name}
            onDown={index + 1 < items.length ? () => move(index, index + 1) : undefined}
            onRemove={() => form.change((text) => edits.remove(text, place))}
            onUp={index ? () => move(index, index - 1) : undefined}
          />
        );
        return (
          <Item
            buttons={buttons}
            findings={found}
            key={simple ? index : `${index} of ${items.length}`}
            name={name}
            opened={index === added}
            pointer={place}
            simple={simple}
            title={`${index + 1}.`}
            value={each}
          >
            <Field bare findings={found} label={name} pointer={place} required schema={item} value={each} />
          </Item>
        );
      })}
      {!items.length && locked && <Text color="fg.muted">{words.empty}</Text>}
      {!locked && (
        <Flex gap={2}>
          {variants.length > 1 && (
            <NativeSelect.Root size="xs" width="auto">
              <NativeSelect.Field
                aria-label={words.addKind(label)}
                onChange={(event) => setPicked(event.target.value)}
                value={variant?.id}
              >
                {variants.map((each) => (
                  <option key={each.id} value={each.id}>
                    {each.title || words.kinds[each.kind]}
                  </option>
                ))}
              </NativeSelect.Field>
              <NativeSelect.Indicator />
            </NativeSelect.Root>
          )}
          <Button aria-label={words.addTo(label)} onClick={add} size="xs" variant="outline">
            {words.add}
          </Button>
        </Flex>
      )}
    </Stack>
  );
}
