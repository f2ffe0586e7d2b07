import { Text } from "@chakra-ui/react";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { duration } from "../../ui/Time";
import { Budgets } from "./Budgets";
import type { Me } from "./shapes";

const words = strings.settings.limits;

/** How often one may ask, and how much one may spend. */
export function Limits({ me }: { me: Me }) {
  const { seconds, ...counts } = me.limits;
  const rows = (["requests", "generates", "refines"] as const).map((name) => ({ name, most: counts[name] }));
  return (
    <>
      <Text color="fg.muted" fontSize="sm" mb={3}>
        {words.help}
      </Text>
      <DataTable
        columns={[
          { name: "name", header: words.what, cell: (one) => words.names[one.name] },
          { name: "most", header: words.most(duration(seconds)), numeric: true, cell: (one) => one.most || words.unlimited },
        ]}
        keyOf={(one) => one.name}
        label={words.title}
        rows={rows}
      />
      <Budgets budgets={me.budgets} />
    </>
  );
}
