/** Every address that the pages lead to, ours and Airflow's; below the router's base. */
const root = "/plugin/pipelines";
const part = encodeURIComponent;

/** A config's file may stand in a subfolder: its slashes stay. */
const file = (name: string) => name.split("/").map(part).join("/");

/** A DAG of such a name has its page as a tab of Airflow's page of it alone. */
const ours = new Set(["new", "edit", "settings"]);
const tab = (dagId: string) => `/dags/${part(dagId)}/plugin/pipeline`;

export const paths = {
  list: () => root,
  /** A new pipeline: empty, from an example, from a saved draft, or refined in a chat. */
  create: (from: { example?: string; draft?: string; chat?: string } = {}) => {
    const query = new URLSearchParams(Object.entries(from)).toString();
    return `${root}/new${query && `?${query}`}`;
  },
  edit: (name: string) => `${root}/edit/${file(name)}`,
  pipeline: (dagId: string) => (ours.has(dagId) ? tab(dagId) : `${root}/${part(dagId)}`),
  settings: () => `${root}/settings`,
  airflow: {
    dag: (dagId: string) => `/dags/${part(dagId)}`,
    runs: (dagId: string) => `/dags/${part(dagId)}/runs`,
    run: (dagId: string, runId: string) => `/dags/${part(dagId)}/runs/${part(runId)}`,
    task: (dagId: string, runId: string, taskId: string) =>
      `/dags/${part(dagId)}/runs/${part(runId)}/tasks/${part(taskId)}`,
  },
};
