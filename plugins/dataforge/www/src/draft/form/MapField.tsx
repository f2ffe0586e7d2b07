import { Button, Flex, Input, Stack, Text } from "@chakra-ui/react";
import { useId, useState } from "react";
import { strings } from "../../strings";
import { edits } from "../json/edit";
import { isObject, under, within } from "../json/value";
import { starter } from "../schema/help";
import { below, deref, type Schema } from "../schema/resolve";
import type { Finding, Json } from "../types";
import { columnsAt, useForm } from "./context";
import { Item, RemoveButton } from "./Entry";
import { Field } from "./Field";
import { FieldFindings } from "./FieldFindings";
import { areSimple, variantsOf } from "./variants";

const words = strings.draft;

interface MapFieldProps {
  readonly pointer: string;
  readonly schema: Schema;
  readonly label: string;
  readonly locked: boolean;
  readonly value: Json | undefined;
  readonly findings: readonly Finding[];
}

/** Names and their values, such as columns and expressions. */
export function MapField({ pointer, schema, label, locked, value, findings }: MapFieldProps) {
  const form = useForm();
  const columns = useId();
  const [added, setAdded] = useState("");
  const entries = isObject(value) ? Object.entries(value) : [];
  const names = entries.map(([name]) => name);
  const valueOf = (name: string): Schema => deref(form.root, below(form.root, schema, name) ?? anyValue(schema));
  const proposed =
    isObject(schema.propertyNames) && schema.propertyNames["x-column"] === true ? columnsAt(form, pointer) : [];
  const add = (name: string): void => {
    form.change((text) => edits.set(text, under(pointer, name), starter(form.root, valueOf(name))));
    setAdded(name);
  };
  return (
    <Stack gap={2}>
      {entries.map(([name, each]) => {
        const place = under(pointer, name);
        const rename = (to: string): void => form.change((text) => edits.rename(text, place, to));
        const head = (
          <NameInput
            list={proposed.length ? columns : undefined}
            locked={locked}
            name={name}
            onRename={rename}
            taken={names}
          />
        );
        const remove = locked ? null : (
          <RemoveButton name={name} onClick={() => form.change((text) => edits.remove(text, place))} />
        );
        const found = findings.filter((finding) => within(finding.pointer, place));
        return (
          <Item
            buttons={remove}
            findings={found}
            head={head}
            key={name}
            name={name}
            opened={name === added}
            pointer={place}
            simple={areSimple(variantsOf(form.root, valueOf(name)))}
            title={`${name}:`}
            value={each}
          >
            <Field bare findings={found} label={name} pointer={place} required schema={valueOf(name)} value={each} />
          </Item>
        );
      })}
      {proposed.length > 0 && (
        <datalist id={columns}>
          {proposed.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      )}
      {!names.length && locked && <Text color="fg.muted">{words.empty}</Text>}
      {!locked && <AddName label={label} list={proposed.length ? columns : undefined} onAdd={add} taken={names} />}
      <FieldFindings
        findings={findings.filter(
          (each) => each.pointer !== pointer && !names.some((name) => within(each.pointer, under(pointer, name))),
        )}
      />
    </Stack>
  );
}

const anyValue = (schema: Schema): Schema => {
  const patterns = isObject(schema.patternProperties) ? Object.values(schema.patternProperties)[0] : undefined;
  return isObject(patterns) ? patterns : {};
};

interface NameInputProps {
  readonly name: string;
  readonly taken: readonly string[];
  readonly list?: string;
  readonly locked: boolean;
  readonly onRename: (name: string) => void;
}

/** Renames when it is left, so that half a name is never one. */
function NameInput({ name, taken, list, locked, onRename }: NameInputProps) {
  const [typed, setTyped] = useState<string | null>(null);
  const wrong = typed !== null && typed !== name && (typed === "" || taken.includes(typed));
  const done = (): void => {
    if (typed !== null && typed !== name && !wrong) onRename(typed);
    setTyped(null);
  };
  return (
    <Input
      aria-invalid={wrong || undefined}
      aria-label={words.nameOf(name)}
      disabled={locked}
      list={list}
      onBlur={done}
      onChange={(event) => setTyped(event.target.value)}
      onKeyDown={(event) => event.key === "Enter" && done()}
      size="sm"
      title={wrong ? words.nameTaken : undefined}
      value={typed ?? name}
    />
  );
}

function AddName({
  label,
  taken,
  list,
  onAdd,
}: {
  label: string;
  taken: readonly string[];
  list?: string;
  onAdd: (name: string) => void;
}) {
  const [name, setName] = useState("");
  const wrong = taken.includes(name.trim());
  const add = (): void => {
    if (!name.trim() || wrong) return;
    onAdd(name.trim());
    setName("");
  };
  return (
    <Flex gap={2}>
      <Input
        aria-invalid={wrong || undefined}
        aria-label={words.newNameOf(label)}
        list={list}
        maxW="14rem"
        onChange={(event) => setName(event.target.value)}
        onKeyDown={(event) => event.key === "Enter" && add()}
        placeholder={words.newName}
        size="xs"
        title={wrong ? words.nameTaken : undefined}
        value={name}
      />
      <Button
        aria-label={words.addTo(label)}
        disabled={!name.trim() || wrong}
        onClick={add}
        size="xs"
        variant="outline"
      >
        {words.add}
      </Button>
    </Flex>
  );
}
