import { Box, Button, Stack, Text } from "@chakra-ui/react";
import { strings } from "../../strings";
import { edits } from "../json/edit";
import { isObject, under, within } from "../json/value";
import { labelOf } from "../schema/help";
import { below, requires, type Schema } from "../schema/resolve";
import type { Finding, Json } from "../types";
import { useForm, useOpen } from "./context";
import { Field } from "./Field";
import { FieldFindings } from "./FieldFindings";
import { shownKeys } from "./variants";

const words = strings.draft;
const ANYTHING: Schema = {};

interface ObjectFieldsProps {
  readonly pointer: string;
  readonly schema: Schema;
  readonly value: Json | undefined;
  readonly findings: readonly Finding[];
  /** Keys that are shown even when they are not set. */
  readonly always?: readonly string[];
}

/** The fields of an object: what is needed or set at once, the rest behind a button. */
export function ObjectFields({ pointer, schema, value, findings, always = [] }: ObjectFieldsProps) {
  const form = useForm();
  const { shown, more } = shownKeys(schema, value, always);
  const wanted = form.goTo && more.some((key) => within(form.goTo?.pointer ?? "", under(pointer, key)));
  const [open, setOpen] = useOpen(wanted ? pointer : `${pointer}/\0`, false);
  const unknown = isObject(value) ? Object.keys(value).filter((key) => !below(form.root, schema, key)) : [];
  const field = (key: string) => (
    <Field
      findings={findings.filter((finding) => within(finding.pointer, under(pointer, key)))}
      key={key}
      label={labelOf(key)}
      pointer={under(pointer, key)}
      required={requires(schema, key)}
      schema={below(form.root, schema, key) ?? ANYTHING}
      value={isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined}
    />
  );
  return (
    <Stack gap={4}>
      {shown.map(field)}
      {unknown.length > 0 && <UnknownKeys findings={findings} keys={unknown} pointer={pointer} />}
      {more.length > 0 && (
        <Box>
          <Button aria-expanded={open} onClick={() => setOpen(!open)} size="xs" variant="ghost">
            {open ? words.less : words.more(more.length)}
          </Button>
          {open && (
            <Stack gap={4} mt={3}>
              {more.map(field)}
            </Stack>
          )}
        </Box>
      )}
    </Stack>
  );
}

function UnknownKeys({
  keys,
  pointer,
  findings,
}: {
  keys: readonly string[];
  pointer: string;
  findings: readonly Finding[];
}) {
  const { change, readOnly } = useForm();
  return (
    <Box>
      <Text fontSize="sm" fontWeight="medium">
        {words.unknownKeys}
      </Text>
      {keys.map((key) => {
        const place = under(pointer, key);
        const found = findings.filter((finding) => finding.pointer === place);
        return (
          <Box data-place={place} key={key} mt={1}>
            <Text fontFamily="mono" fontSize="sm">
              {key}{" "}
              {!readOnly && !found.length && (
                <Button
                  aria-label={words.unset(key)}
                  onClick={() => change((text) => edits.remove(text, place))}
                  size="2xs"
                  variant="outline"
                >
                  {words.unset(key)}
                </Button>
              )}
            </Text>
            <FieldFindings findings={found} />
          </Box>
        );
      })}
    </Box>
  );
}
