import { Text } from "@chakra-ui/react";
import { newKey, request } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Confirm } from "../../ui/Confirm";
import { Findings } from "../../ui/Findings";
import { Loaded } from "../../ui/states";
import { TextDiff } from "../../ui/TextDiff";
import { fileUrl } from "./links";
import type { ConfigText, Revision, RevisionText } from "./shapes";

const words = strings.pipeline.revisions;

interface RollbackProps {
  file: string;
  to: Revision;
  onClose: () => void;
  onDone: (waits: boolean) => void;
}

/** Shows what going back would change and does it, unless somebody else changed the file since it was shown. */
export function Rollback({ file, to, onClose, onDone }: RollbackProps) {
  const now = useQuery<ConfigText>(fileUrl(file));
  const then = useQuery<RevisionText>(`${fileUrl(file)}/revisions/${to.id}`);
  const go = useAct(async (reason: string) => {
    const ask = { method: "POST", body: { revision: String(to.id), reason }, ifMatch: now.data?.digest, key: newKey() } as const;
    const answer = await request(`${fileUrl(file)}/rollback`, ask);
    onDone(answer.status === 202);
  });
  const ready = now.data !== undefined && then.data !== undefined;
  return (
    <Confirm
      action={words.goBack}
      ask={words.why}
      busy={go.busy || !ready}
      error={go.error}
      onClose={onClose}
      onConfirm={(reason) => void go.run(reason)}
      palette="red"
      title={words.backTo(to.id)}
    >
      <Text>{words.backHelp}</Text>
      <Loaded query={now}>
        {(current) => (
          <Loaded query={then}>
            {(older) => (
              <>
                <TextDiff after={older.text ?? ""} before={current.text} label={words.backTo(to.id)} />
                <Findings findings={older.findings} />
              </>
            )}
          </Loaded>
        )}
      </Loaded>
    </Confirm>
  );
}
