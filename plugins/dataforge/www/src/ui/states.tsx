import { Alert, Box, Button, Flex, Heading, Spinner, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { ApiProblem, Offline } from "../api/client";
import type { Query } from "../api/use";
import { strings } from "../strings";
import { Findings } from "./Findings";

const words = strings.common;

/** There is nothing yet, why, and what to do about it. */
export function Empty({ title, description, children }: { title: string; description?: string; children?: ReactNode }) {
  return (
    <Box borderRadius="md" borderStyle="dashed" borderWidth={1} p={{ base: 4, md: 8 }} textAlign="center">
      <Heading as="h2" mb={2} size="md">
        {title}
      </Heading>
      {description && <Text color="fg.muted">{description}</Text>}
      {children}
    </Box>
  );
}

export function Loading({ label = words.loading }: { label?: string }) {
  return (
    <Flex align="center" color="fg.muted" gap={2} p={4} role="status">
      <Spinner size="sm" />
      <Text>{label}</Text>
    </Flex>
  );
}

/** What went wrong, in the API's own words, and a way to go on. */
export function Failure({ error, onRetry }: { error: Error; onRetry?: () => void }) {
  const problem = error instanceof ApiProblem ? error : null;
  return (
    <Alert.Root alignItems="flex-start" mb={3} role="alert" status={error instanceof Offline ? "warning" : "error"}>
      <Alert.Indicator />
      <Alert.Content gap={2} minW={0}>
        <Alert.Title>{titleOf(error)}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">
          <Text>{textOf(error)}</Text>
          {problem?.retryAfter && <Text>{words.tryAfter(problem.retryAfter)}</Text>}
          {problem && problem.findings.length > 0 && (
            <Box bg="bg" borderRadius="md" color="fg" mt={2} p={2}>
              <Findings findings={problem.findings} />
            </Box>
          )}
        </Alert.Description>
        {onRetry && (
          <Button alignSelf="start" onClick={onRetry} size="xs" variant="outline">
            {words.retry}
          </Button>
        )}
      </Alert.Content>
    </Alert.Root>
  );
}

/** The content of a query, or why there is none; old content stays while the server can't be reached. */
export function Loaded<T>({ query, children }: { query: Query<T>; children: (data: T) => ReactNode }) {
  return (
    <>
      {query.error && <Failure error={query.error} onRetry={query.reload} />}
      {query.loading && <Loading />}
      {query.data !== undefined && children(query.data)}
    </>
  );
}

function titleOf(error: Error): string {
  if (error instanceof Offline) return words.offlineTitle;
  if (!(error instanceof ApiProblem)) return words.failureTitle;
  return error.status === 401 ? words.signedOutTitle : error.status === 403 ? words.forbiddenTitle : words.failureTitle;
}

function textOf(error: Error): string {
  if (error instanceof Offline) return words.offlineText;
  return error instanceof ApiProblem && error.status === 401 ? words.signedOutText : error.message;
}
