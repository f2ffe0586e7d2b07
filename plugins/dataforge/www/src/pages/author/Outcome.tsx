import { Box, Code, List, Stack, Text, chakra } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { Link } from "react-router-dom";

import type { Finding } from "../../api/client";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Findings } from "../../ui/Findings";
import { SentCalls } from "./SentCalls";
import type { Result } from "./shapes";

const words = strings.author;

/** What a job tells besides its draft: what was assumed and is open, what checks found, what left the machine. */
export function Outcome({ result }: { result: Result }) {
  const { assumptions, questions, findings, notes, fixed, similar, examples, sent } = result;
  const wrong = (findings ?? []).filter((one) => one.severity !== "info");
  return (
    <Stack fontSize="sm" gap={2} mt={2}>
      <Part items={questions} title={words.questions}>
        {(one) => (
          <>
            {one.text}
            {one.options.length > 0 && <Text color="fg.muted">{words.options(one.options.slice(0, 8).join(", "))}</Text>}
          </>
        )}
      </Part>
      <Part items={assumptions} title={words.assumptions}>
        {(one) => (
          <>
            <Code size="sm">{one.pointer}</Code> = <Code size="sm">{JSON.stringify(one.value)}</Code> — {one.reason}
          </>
        )}
      </Part>
      <Part items={fixed} title={words.fixed}>
        {(one) => (
          <>
            <Code size="sm">{one.pointer || "/"}</Code> {one.reason}
          </>
        )}
      </Part>
      {wrong.length > 0 && (
        <Box>
          <Text fontWeight="medium">{words.found}</Text>
          <Findings findings={wrong as Finding[]} />
        </Box>
      )}
      <Part items={similar} title={words.similar}>
        {(one) => (
          <>
            <Link to={paths.pipeline(one.dag_id)}>
              <Text as="span" textDecoration="underline">{one.dag_id}</Text>
            </Link>{" "}
            {one.why}
          </>
        )}
      </Part>
      <Part items={examples} title={words.nearExamples}>
        {(one) => (
          <Link to={paths.create({ example: one })}>
            <Text as="span" textDecoration="underline">{one}</Text>
          </Link>
        )}
      </Part>
      {notes && notes.length > 0 && (
        <details>
          <chakra.summary cursor="pointer">{words.notes(notes.length)}</chakra.summary>
          <Part items={notes} title="">
            {(one) => one}
          </Part>
        </details>
      )}
      {sent && <SentCalls calls={sent} />}
    </Stack>
  );
}

interface PartProps<T> {
  title: string;
  items: T[] | undefined;
  children: (item: T) => ReactNode;
}

function Part<T>({ title, items, children }: PartProps<T>) {
  if (!items || items.length === 0) return null;
  return (
    <Box>
      {title && <Text fontWeight="medium">{title}</Text>}
      <List.Root ps={4}>
        {items.map((one, at) => (
          <List.Item key={at} overflowWrap="anywhere">
            {children(one)}
          </List.Item>
        ))}
      </List.Root>
    </Box>
  );
}
