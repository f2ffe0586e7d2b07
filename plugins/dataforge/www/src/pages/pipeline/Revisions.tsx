import { Alert, Badge, Checkbox, HStack, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { type Column, DataTable } from "../../ui/DataTable";
import { GatedButton } from "../../ui/GatedButton";
import { Empty, Loaded } from "../../ui/states";
import { Time } from "../../ui/Time";
import { fileUrl } from "./links";
import { RevisionDiff } from "./RevisionDiff";
import { Rollback } from "./Rollback";
import type { Pipeline, Revision } from "./shapes";

const words = strings.pipeline.revisions;

interface RevisionsProps {
  pipeline: Pipeline;
  why: string | null;
  onChanged: () => void;
}

/** Who changed what, when and why; any two revisions compared; the way back to each. */
export function Revisions({ pipeline, why, onChanged }: RevisionsProps) {
  const history = useQuery<{ revisions: Revision[] }>(`${fileUrl(pipeline.file)}/revisions?limit=100`);
  const [chosen, setChosen] = useState<number[]>([]);
  const [back, setBack] = useState<Revision | null>(null);
  const [told, setTold] = useState("");
  const choose = (id: number) =>
    setChosen(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id].slice(-2));
  const done = (waits: boolean) => {
    setTold(waits ? words.waits : words.wentBack(back?.id ?? 0));
    setBack(null);
    history.reload();
    onChanged();
  };
  return (
    <Loaded query={history}>
      {({ revisions }) =>
        revisions.length === 0 ? (
          <Empty title={words.empty}>
            <Text color="fg.muted">{words.emptyHelp}</Text>
          </Empty>
        ) : (
          <Stack gap={4}>
            {told && (
              <Alert.Root role="status" status="success">
                <Alert.Indicator />
                <Alert.Title>{told}</Alert.Title>
              </Alert.Root>
            )}
            <Text color="fg.muted" fontSize="sm">
              {words.help}
            </Text>
            <DataTable
              columns={columnsOf({ chosen, choose, current: pipeline.digest, why, goBack: setBack })}
              keyOf={(one) => one.id}
              label={words.title}
              rows={revisions}
            />
            {chosen.length > 0 && <RevisionDiff chosen={chosen} file={pipeline.file} key={`${pipeline.digest} ${chosen.join()}`} />}
            {back && <Rollback file={pipeline.file} onClose={() => setBack(null)} onDone={done} to={back} />}
          </Stack>
        )
      }
    </Loaded>
  );
}

interface Marks {
  chosen: number[];
  choose: (id: number) => void;
  current: string;
  why: string | null;
  goBack: (to: Revision) => void;
}

function columnsOf({ chosen, choose, current, why, goBack }: Marks): Column<Revision>[] {
  return [
    {
      name: "compare",
      header: words.compare,
      cell: ({ id }) => (
        <Checkbox.Root checked={chosen.includes(id)} onCheckedChange={() => choose(id)} size="sm">
          <Checkbox.HiddenInput aria-label={words.pick(id)} />
          <Checkbox.Control />
        </Checkbox.Root>
      ),
    },
    { name: "id", header: words.id, cell: (one) => <Name current={current} revision={one} /> },
    { name: "at", header: words.at, cell: (one) => <Time at={one.created_at} /> },
    { name: "author", header: words.author, cell: (one) => one.author },
    { name: "reason", header: words.reason, cell: (one) => <Text overflowWrap="anywhere">{one.reason || one.kind}</Text> },
    { name: "model", header: words.model, cell: (one) => one.model || "–" },
    {
      name: "back",
      header: words.actions,
      cell: (one) => (
        <GatedButton
          aria-label={words.backTo(one.id)}
          onClick={() => goBack(one)}
          size="xs"
          variant="outline"
          why={why ?? (one.digest === current ? words.isInForce : null)}
        >
          {words.back}
        </GatedButton>
      ),
    },
  ];
}

function Name({ revision, current }: { revision: Revision; current: string }) {
  return (
    <HStack>
      {revision.id}
      {revision.digest === current && <Badge colorPalette="green">{words.inForce}</Badge>}
    </HStack>
  );
}
