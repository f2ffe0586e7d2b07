import { Badge, Checkbox, Text, chakra } from "@chakra-ui/react";
import { strings } from "../../strings";
import { type Column, DataTable } from "../../ui/DataTable";
import type { Letter } from "./shapes";

const words = strings.pipeline.letters;

interface LettersTableProps {
  letters: Letter[];
  chosen: string[];
  onChoose: (ids: string[]) => void;
}

/** Dead letters with a mark on each that is to be replayed; those that were replayed can't be marked. */
export function LettersTable({ letters, chosen, onChoose }: LettersTableProps) {
  const toggle = (id: string) => onChoose(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id]);
  const waiting = letters.filter((one) => !one.replayed).map((one) => one.id);
  const all = waiting.length > 0 && waiting.every((id) => chosen.includes(id));
  const columns: Column<Letter>[] = [
    {
      name: "choose",
      header: <Mark checked={all} label={words.chooseAll} onToggle={() => onChoose(all ? [] : waiting)} />,
      cell: (one) =>
        one.replayed ? (
          <Badge colorPalette="green">{words.wasReplayed}</Badge>
        ) : (
          <Mark checked={chosen.includes(one.id)} label={words.choose(one.position)} onToggle={() => toggle(one.id)} />
        ),
    },
    { name: "reason", header: words.reason, cell: (one) => <Text minW="180px">{one.reason}</Text> },
    { name: "stage", header: words.stage, cell: (one) => one.stage },
    {
      name: "place",
      header: words.place,
      cell: (one) => <Text minW="140px">{[one.source, one.position].filter(Boolean).join(" · ")}</Text>,
    },
    { name: "run", header: words.run, cell: (one) => <Text fontSize="xs">{one.run_id}</Text> },
    { name: "record", header: words.record, cell: (one) => <Record letter={one} /> },
  ];
  return <DataTable columns={columns} keyOf={(one) => one.id} label={words.title} rows={letters} />;
}

function Mark({ checked, label, onToggle }: { checked: boolean; label: string; onToggle: () => void }) {
  return (
    <Checkbox.Root checked={checked} onCheckedChange={onToggle} size="sm">
      <Checkbox.HiddenInput aria-label={label} />
      <Checkbox.Control />
    </Checkbox.Root>
  );
}

function Record({ letter }: { letter: Letter }) {
  const text = typeof letter.record === "string" ? letter.record : JSON.stringify(letter.record);
  return (
    <chakra.details minW="220px">
      <chakra.summary cursor="pointer" fontFamily="mono" fontSize="xs" maxW="320px" truncate>
        {text}
      </chakra.summary>
      <chakra.pre fontSize="xs" overflowWrap="anywhere" whiteSpace="pre-wrap">
        {typeof letter.record === "string" ? text : JSON.stringify(letter.record, null, 2)}
      </chakra.pre>
    </chakra.details>
  );
}
