import { Box, Text } from "@chakra-ui/react";
import { useEffect, useId, useMemo, useRef } from "react";
import { strings } from "../strings";
import { FormContext, type FormState } from "./form/context";
import { FieldFindings } from "./form/FieldFindings";
import { ObjectFields } from "./form/ObjectFields";
import { readConfig } from "./json/read";
import { parentOf } from "./json/value";
import { useShared, useSharedItems } from "./form/useShared";
import { choosingTab } from "./useHost";
import type { ConfigFormProps, Finding, Known, Pinned } from "./types";

const words = strings.draft;
const NO_FINDINGS: readonly Finding[] = [];
const NOTHING_KNOWN: Known = {};
const NOTHING_PINNED: Pinned = {};

/** A config as a form made from its schema. Every change is an edit of the text, which keeps its formatting. */
export function ConfigForm(props: ConfigFormProps) {
  const { text, schema, findings = NO_FINDINGS, known = NOTHING_KNOWN, pinned = NOTHING_PINNED } = props;
  const { readOnly = false, goTo = null, onPin, onChange } = props;
  const prefix = useId();
  const host = useRef<HTMLDivElement>(null);
  const config = useShared(useMemo(() => readConfig(text), [text]));
  const [steadyKnown, steadyPinned] = [useShared(known), useShared(pinned)];
  const steadyFindings = useSharedItems(findings);
  const latest = useRef({ text, config, readOnly, onChange, onPin });
  const canPin = onPin !== undefined;

  useEffect(() => {
    latest.current = { text, config, readOnly, onChange, onPin };
  });

  useEffect(() => {
    if (goTo && host.current) focusPlace(host.current, goTo.pointer);
  }, [goTo]);

  const form = useMemo(
    (): FormState => ({
      root: schema ?? {},
      config: () => latest.current.config ?? {},
      known: steadyKnown,
      pinned: steadyPinned,
      readOnly,
      goTo,
      prefix,
      onPin: canPin ? (pointer, value) => latest.current.onPin?.(pointer, value) : undefined,
      change: (edit) => {
        const { text: old, readOnly: locked, onChange: changed } = latest.current;
        const next = locked ? old : edit(old);
        if (next === old) return;
        latest.current = { ...latest.current, text: next };
        changed(next);
      },
    }),
    [schema, steadyKnown, steadyPinned, readOnly, goTo, prefix, canPin],
  );
  if (!schema) return <Text color="fg.muted">{words.noSchema}</Text>;
  if (!config) return <Text>{words.noJson}</Text>;
  const inputs = Object.hasOwn(config, "sources") ? "sources" : "source";
  return (
    <FormContext.Provider value={form}>
      <Box aria-label={words.form} ref={host} role="form">
        <FieldFindings findings={steadyFindings.filter(({ pointer }) => pointer === "")} />
        <ObjectFields
          always={["description", "schedule", inputs, "transforms", "checks"]}
          findings={steadyFindings}
          pointer=""
          schema={schema}
          value={config}
        />
      </Box>
    </FormContext.Provider>
  );
}

/** Scroll to the field of a place, or to the nearest one around it, and focus it. */
function focusPlace(host: HTMLElement, pointer: string): void {
  for (let place = pointer; place; place = parentOf(place)) {
    const field = host.querySelector<HTMLElement>(`[data-place="${CSS.escape(place)}"]`);
    if (!field) continue;
    field.scrollIntoView({ block: "center" });
    if (!choosingTab())
      field.querySelector<HTMLElement>("input, textarea, select, button")?.focus({ preventScroll: true });
    return;
  }
}
