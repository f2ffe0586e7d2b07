import { Alert, Button, HStack, Input, Stack, Text, chakra } from "@chakra-ui/react";
import { type FormEvent, useState } from "react";
import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Loaded } from "../../ui/states";
import { Time } from "../../ui/Time";
import type { Entry, Me } from "./shapes";

const words = strings.settings.audit;
type Field = "actor" | "action" | "file";
const DIGEST = /^[0-9a-f]{64}$/;
const FIELDS: Field[] = ["actor", "action", "file"];

/** Who did what, the newest first, and whether the record is as it was written; everybody sees what they did. */
export function AuditLog({ me }: { me: Me }) {
  return (
    <Stack gap={4}>
      {me.may_admin ? (
        <Verified />
      ) : (
        <Text color="fg.muted" fontSize="sm">
          {words.own}
        </Text>
      )}
      <Log fields={me.may_admin ? FIELDS : FIELDS.slice(1)} />
    </Stack>
  );
}

/** Whether the chain of entries is whole; asked for only on demand, since all of it is read. */
function Verified() {
  const [asked, setAsked] = useState(false);
  const chain = useQuery<Forms["VerifiedForm"]>(asked ? "/audit/verify" : null);
  if (!asked) {
    return (
      <Button alignSelf="start" onClick={() => setAsked(true)} size="sm" variant="outline">
        {words.verify}
      </Button>
    );
  }
  return (
    <Loaded query={chain}>
      {({ ok, entries, broken_at: broken }) => (
        <Alert.Root role="status" status={ok ? "success" : "error"}>
          <Alert.Indicator />
          <Alert.Content>
            <Alert.Title>{ok ? words.whole(entries) : words.broken(broken)}</Alert.Title>
          </Alert.Content>
          <Button onClick={chain.reload} size="xs" variant="outline">
            {words.again}
          </Button>
        </Alert.Root>
      )}
    </Loaded>
  );
}

function Log({ fields }: { fields: Field[] }) {
  const [filter, setFilter] = useState<Record<string, string>>({});
  const [before, setBefore] = useState<number[]>([]);
  const query = new URLSearchParams({ ...filter, limit: "50", ...(before.length > 0 && { before: String(before.at(-1)) }) });
  const log = useQuery<Forms["AuditForm"]>(`/audit?${query}`);
  const seek = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const named = fields.map((name) => [name, String(given.get(name) ?? "").trim()] as const);
    setFilter(Object.fromEntries(named.filter(([, value]) => value)));
    setBefore([]);
  };
  return (
    <>
      <chakra.form onSubmit={seek}>
        <HStack wrap="wrap">
          {fields.map((name) => (
            <Input aria-label={words.fields[name]} key={name} maxW="200px" name={name} placeholder={words.fields[name]} size="sm" />
          ))}
          <Button size="sm" type="submit" variant="outline">
            {words.seek}
          </Button>
        </HStack>
      </chakra.form>
      <Loaded query={log}>
        {({ entries, next }) => (
          <>
            <Entries entries={entries} />
            <HStack justify="space-between">
              <Button disabled={before.length === 0} onClick={() => setBefore(before.slice(0, -1))} size="xs" variant="outline">
                {words.newer}
              </Button>
              <Button
                disabled={next === null}
                onClick={() => next !== null && setBefore([...before, next])}
                size="xs"
                variant="outline"
              >
                {words.older}
              </Button>
            </HStack>
          </>
        )}
      </Loaded>
    </>
  );
}

function Entries({ entries }: { entries: Entry[] }) {
  return (
    <DataTable
      columns={[
        { name: "at", header: words.at, cell: (one) => <Text whiteSpace="nowrap"><Time at={one.at} exact /></Text> },
        { name: "actor", header: words.fields.actor, cell: (one) => one.actor },
        { name: "action", header: words.fields.action, cell: (one) => one.action },
        { name: "subject", header: words.subject, cell: (one) => <Text overflowWrap="anywhere">{one.subject}</Text> },
        { name: "detail", header: words.detail, cell: (one) => <Detail value={one.detail} /> },
        {
          name: "digest",
          header: words.digest,
          cell: (one) => (
            <Text fontFamily="mono" fontSize="xs" title={one.digest}>
              {one.digest.slice(0, 10)}
            </Text>
          ),
        },
      ]}
      empty={words.empty}
      keyOf={(one) => one.id}
      label={words.title}
      rows={entries}
    />
  );
}

function Detail({ value }: { value: Entry["detail"] }) {
  const told = Object.entries(value).filter(([, one]) => one !== "" && one !== null);
  return (
    <Text fontSize="xs" minW="240px" overflowWrap="anywhere" whiteSpace="normal">
      {told.map(([name, one]) => `${name}: ${inShort(one)}`).join(" · ")}
    </Text>
  );
}

/** A value as one reads it; of a digest its beginning. */
const inShort = (value: unknown): string => {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return DIGEST.test(text) ? text.slice(0, 10) : text;
};
