import { Route, Routes, useParams } from "react-router-dom";
import { AuthorPage } from "./pages/author/AuthorPage";
import { PipelinePage } from "./pages/pipeline/PipelinePage";
import { PipelinesPage } from "./pages/pipelines/PipelinesPage";
import { SettingsPage } from "./pages/settings/SettingsPage";

/** The pages below /plugin/pipelines. */
export function Pages() {
  return (
    <Routes>
      <Route index element={<PipelinesPage />} />
      <Route path="new" element={<AuthorPage key="new" />} />
      <Route path="edit/*" element={<Edit />} />
      <Route path="settings" element={<SettingsPage />} />
      <Route path=":dagId" element={<Pipeline />} />
    </Routes>
  );
}

/** The page of one pipeline, as a tab of Airflow's page of its DAG. */
export function DagTab({ dagId }: { dagId: string }) {
  return <PipelinePage key={dagId} dagId={dagId} />;
}

function Edit() {
  const file = useParams()["*"] ?? "";
  return <AuthorPage key={file} file={file} />;
}

function Pipeline() {
  const { dagId = "" } = useParams();
  return <PipelinePage key={dagId} dagId={dagId} />;
}
