import { Code, Stack, Text } from "@chakra-ui/react";

import type { Forms } from "../../api/client";
import { strings } from "../../strings";
import { Failure, Loading } from "../../ui/states";
import { usePost } from "./usePost";

const words = strings.author;

interface SqlTabProps {
  text: string;
  file: string;
  valid: boolean | null;
  dagIds: string[];
  blocked: string | null;
}

/** What the draft does in words, and the SQL that its transforms become. */
export function SqlTab({ text, file, valid, blocked }: SqlTabProps) {
  if (blocked) return <Text color="fg.muted">{blocked}</Text>;
  if (valid === false) return <Text color="fg.muted">{words.mendFirst}</Text>;
  return <Words file={file} text={text} />;
}

function Words({ text, file }: { text: string; file: string }) {
  const found = usePost<Forms["SqlForm"] & { text: string }>("/explain", { text, file }, 600);
  return (
    <Stack gap={3}>
      {found.error && <Failure error={found.error} onRetry={found.reload} />}
      {found.loading && <Loading />}
      {found.data && (
        <>
          <Text fontSize="sm" overflowWrap="anywhere" whiteSpace="pre-wrap">{found.data.text}</Text>
          {found.data.sql ? (
            <Code as="pre" aria-label={words.tabs.sql} display="block" overflow="auto" p={3} tabIndex={0}>
              {found.data.sql}
            </Code>
          ) : (
            <Text color="fg.muted">{words.noSql}</Text>
          )}
        </>
      )}
    </Stack>
  );
}
