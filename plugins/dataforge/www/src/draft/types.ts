/** What the draft components share: JSON values, findings as the API gives them, and the props of each component. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** `FindingForm` of the API; line and column count from 1, columns in characters (not UTF-16 units). */
export interface Finding {
  readonly code: string;
  readonly severity: "error" | "warning" | "info";
  readonly message: string;
  readonly line: number;
  readonly column: number;
  readonly pointer: string;
  readonly suggestion: string | null;
  readonly allowed?: readonly string[];
}

/** Values that a person fixed, by JSON pointer ("/schedule") or top-level key ("schedule"). */
export type Pinned = JsonObject;

/** Names that fill choices and completions beside the schema's own. */
export interface Known {
  /** Airflow connections: id and type. */
  readonly connections?: readonly { readonly id: string; readonly type: string }[];
  /** Columns after each node, by the node's pointer: see `columnsOfPreview`. */
  readonly columns?: Columns;
}

/** Columns (name to type) of each node of the pipeline, by JSON pointer ("/source", "/sources/a", "/transforms/2"). */
export type Columns = { readonly [pointer: string]: Readonly<Record<string, string>> };

export interface ConfigEditorProps {
  readonly text: string;
  readonly onChange: (text: string) => void;
  /** What GET /schema gives; null while it loads: then there is no completion and no hover. */
  readonly schema: JsonObject | null;
  readonly findings?: readonly Finding[];
  readonly known?: Known;
  readonly readOnly?: boolean;
  /** The place to select and scroll to; give a new object to go there again. */
  readonly goTo?: { readonly pointer: string } | null;
  /** Called when the cursor has moved to another place. */
  readonly onPlace?: (pointer: string) => void;
  /** Accessible name; "Config as JSON" if not given. */
  readonly label?: string;
  /** CSS height; "60vh" if not given. */
  readonly height?: string;
}

export interface ConfigFormProps {
  readonly text: string;
  readonly onChange: (text: string) => void;
  readonly schema: JsonObject | null;
  readonly findings?: readonly Finding[];
  readonly known?: Known;
  /** Shown locked, with their value. */
  readonly pinned?: Pinned;
  /** Pins a place to its value, or frees it (undefined). Without it fields have no pin. */
  readonly onPin?: (pointer: string, value: Json | undefined) => void;
  readonly readOnly?: boolean;
  /** The place to open, scroll to and focus; give a new object to go there again. */
  readonly goTo?: { readonly pointer: string } | null;
}

export interface PipelineGraphProps {
  /** The config, or null when the text is no JSON. */
  readonly config: JsonObject | null;
  readonly columns?: Columns;
  readonly findings?: readonly Finding[];
  /** Pointer of the selected node. */
  readonly selected?: string | null;
  readonly onSelect?: (pointer: string) => void;
}

export interface FieldChangesProps {
  readonly before: JsonObject;
  readonly after: JsonObject;
  /** Text of `before`: the result keeps its formatting. Else the result's text is laid out anew. */
  readonly text?: string;
  /** Places that were pinned: their changes can't be accepted. */
  readonly pinned?: Pinned;
  /** Called when all was accepted or rejected, or the person finished choosing. */
  readonly onDone: (result: FieldChangesResult) => void;
  readonly busy?: boolean;
}

export interface FieldChangesResult {
  readonly config: JsonObject;
  readonly text: string;
  readonly accepted: number;
  readonly rejected: number;
}
