import { Badge } from "@chakra-ui/react";
import { useLocation } from "react-router-dom";

import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Failure, Loading } from "../../ui/states";
import { Page } from "../../ui/Page";
import { nameOf } from "./draft";
import type { Landing } from "./Landed";
import type { Me } from "./shapes";
import { useAuthor } from "./useAuthor";
import { Workbench, whyBlocked } from "./Workbench";

const words = strings.author;

/** Say it, see it, check it, deploy it: a conversation beside the draft that it is about. */
export function AuthorPage({ file = "" }: { file?: string }) {
  const landing = (useLocation().state as { landing?: Landing } | null)?.landing;
  return <Author file={file} key={landing?.digest} landing={landing} />;
}

/** A deploy begins anew, from what is in force now; `landing` is that deploy. */
function Author({ file, landing }: { file: string; landing: Landing | undefined }) {
  const me = useQuery<Me>("/me");
  const { draft, dispatch, loading, error, retry } = useAuthor(file);
  const title = draft.file || draft.text ? nameOf(draft) : words.title;
  return (
    <Page title={title} subtitle={draft.base.digest ? words.subtitleEdit : words.subtitleNew} wide
      actions={me.data && !loading && whyBlocked(me.data, draft) ? <Badge size="lg">{words.readOnly}</Badge> : undefined}>
      {(error ?? me.error) && <Failure error={(error ?? me.error) as Error} onRetry={() => (error ? retry() : me.reload())} />}
      {(loading || me.loading) && <Loading />}
      {!loading && !error && me.data && <Workbench draft={draft} dispatch={dispatch} landing={landing} me={me.data} />}
    </Page>
  );
}
