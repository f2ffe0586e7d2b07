import { Field, Flex, Input, NativeSelect, Text } from "@chakra-ui/react";
import { strings } from "../../strings";
import type { Wanted } from "./listing";

const words = strings.pipelines;

interface FiltersProps {
  wanted: Wanted;
  shown: number;
  total: number;
  /** Files that give no pipeline, of those that are shown. */
  broken: number;
  onChange: (change: Partial<Record<keyof Wanted, string>>) => void;
}

export function Filters({ wanted, shown, total, broken, onChange }: FiltersProps) {
  return (
    <Flex align="end" gap={3} wrap="wrap">
      <Field.Root flex="1 1 16rem" maxW="28rem">
        <Field.Label>{words.search}</Field.Label>
        <Input
          onChange={(event) => onChange({ search: event.target.value })}
          placeholder={words.searchHint}
          size="sm"
          type="search"
          value={wanted.search}
        />
      </Field.Root>
      <Choice label={words.show} onChange={(show) => onChange({ show })} options={words.shows} value={wanted.show} />
      <Choice label={words.sort} onChange={(sort) => onChange({ sort })} options={words.sorts} value={wanted.sort} />
      <Text aria-live="polite" color="fg.muted" fontSize="sm" pb={2}>
        {words.count(shown, total, broken)}
      </Text>
    </Flex>
  );
}

interface ChoiceProps {
  label: string;
  options: Record<string, string>;
  value: string;
  onChange: (value: string) => void;
}

function Choice({ label, options, value, onChange }: ChoiceProps) {
  return (
    <Field.Root w="auto">
      <Field.Label>{label}</Field.Label>
      <NativeSelect.Root size="sm">
        <NativeSelect.Field onChange={(event) => onChange(event.target.value)} value={value}>
          {Object.entries(options).map(([name, text]) => (
            <option key={name} value={name}>
              {text}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
    </Field.Root>
  );
}
