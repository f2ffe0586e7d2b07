/** Where the API keeps a config and its history; slashes of subfolders stay. */
export const fileUrl = (file: string): string => `/configs/${file.split("/").map(encodeURIComponent).join("/")}`;

export const pipelineUrl = (dagId: string): string => `/pipelines/${encodeURIComponent(dagId)}`;

/** Lets Airflow's page of a DAG open as grid or as graph: it keeps the choice under this name. */
export const showAs = (view: "grid" | "graph"): void => localStorage.setItem("default_dag_view", JSON.stringify(view));
