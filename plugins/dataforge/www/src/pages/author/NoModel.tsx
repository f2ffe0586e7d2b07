import { Alert } from "@chakra-ui/react";

import type { Forms } from "../../api/client";
import type { Query } from "../../api/use";
import { strings } from "../../strings";

/** What goes without a language model, where there is none. */
export function NoModel({ models }: { models: Query<Forms["ModelsForm"]> }) {
  const found = models.data?.connections;
  if (!found || found.some((one) => one.models.length > 0)) return null;
  const why = found.flatMap((one) => one.error ?? []);
  return (
    <Alert.Root status="info">
      <Alert.Indicator />
      <Alert.Content minW={0}>
        <Alert.Title>{strings.author.noModel}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">
          {strings.author.noModelHelp}
          {why.length > 0 && <details><summary>{strings.author.noModelWhy}</summary>{why.join(" ")}</details>}
        </Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}
