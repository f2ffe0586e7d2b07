import { Alert } from "@chakra-ui/react";
import { Link } from "react-router-dom";

import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";

const words = strings.author;
const ASK_MS = 15_000;

type Approval = Pick<Forms["JobForm"], "id" | "file"> & { actor: string; reason: string; state: string };

/** Changes of a config that come into force when somebody approves them. */
export function Awaiting({ file }: { file: string }) {
  const asked = useQuery<{ approvals: Approval[] }>(file ? "/approvals?state=pending" : null, { every: ASK_MS });
  const found = asked.data?.approvals.filter((one) => one.file === file && one.state === "pending") ?? [];
  return found.map((one) => (
    <Alert.Root key={one.id} role="status" status="info">
      <Alert.Indicator />
      <Alert.Content minW={0}>
        <Alert.Title>{words.awaiting}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">
          {words.askedBy(one.actor, one.reason)} <Link to={paths.settings()}><u>{words.toApprovals}</u></Link>
        </Alert.Description>
      </Alert.Content>
    </Alert.Root>
  ));
}
