import { Button, Stack, Text } from "@chakra-ui/react";
import { Link, useSearchParams } from "react-router-dom";
import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Page } from "../../ui/Page";
import { Failure, Loaded } from "../../ui/states";
import { BrokenFiles } from "./BrokenFiles";
import { Filters } from "./Filters";
import { FirstPipeline } from "./FirstPipeline";
import { matching, matchingFiles, wantedOf } from "./listing";
import { PipelinesTable } from "./PipelinesTable";

const words = strings.pipelines;
const AGAIN_MS = 15_000;

/** All pipelines that one may see, and the files that give none. */
export function PipelinesPage() {
  const list = useQuery<Forms["PipelinesForm"]>("/pipelines", { every: AGAIN_MS });
  const me = useQuery<Forms["MeForm"]>("/me");
  return (
    <Page
      actions={
        <>
          <Button asChild size="sm" variant="outline">
            <Link to={paths.settings()}>{words.settings}</Link>
          </Button>
          {me.data?.creates && (
            <Button asChild colorPalette="brand" size="sm">
              <Link to={paths.create()}>{words.create}</Link>
            </Button>
          )}
        </>
      }
      isList
      title={words.title}
      wide
    >
      {me.error && !list.error && <Failure error={me.error} onRetry={me.reload} />}
      <Loaded query={list}>{(data) => <Content data={data} me={me.data} reload={list.reload} />}</Loaded>
    </Page>
  );
}

interface ContentProps {
  data: Forms["PipelinesForm"];
  me?: Forms["MeForm"];
  reload: () => void;
}

function Content({ data, me, reload }: ContentProps) {
  const [query, setQuery] = useSearchParams();
  const wanted = wantedOf(query);
  if (data.pipelines.length + data.invalid.length === 0) return <FirstPipeline creates={me?.creates ?? false} />;
  const found = matching(data.pipelines, wanted);
  const broken = matchingFiles(data.invalid, wanted);
  return (
    <Stack gap={4}>
      <Filters
        broken={broken.length}
        onChange={(change) => setQuery(withChange(query, change), { replace: true })}
        shown={found.length}
        total={data.pipelines.length}
        wanted={wanted}
      />
      {broken.length > 0 && <BrokenFiles files={broken} />}
      {found.length > 0 && <PipelinesTable pipelines={found} reload={reload} />}
      {found.length + broken.length === 0 && (
        <Text color="fg.muted">
          {words.nothingFound}{" "}
          <Button onClick={() => setQuery({}, { replace: true })} size="xs" variant="outline">
            {words.clear}
          </Button>
        </Text>
      )}
    </Stack>
  );
}

/** What is as it is without being said does not stand in the address. */
function withChange(query: URLSearchParams, change: Record<string, string>): URLSearchParams {
  const changed = new URLSearchParams({ ...Object.fromEntries(query), ...change });
  for (const [name, usual] of [["search", ""], ["show", "all"], ["sort", "name"]] as const) {
    if (changed.get(name) === usual) changed.delete(name);
  }
  return changed;
}
