/** What pages use of the draft components. Props only: none of them calls the API. */

export type * from "./types";
export { ConfigEditor } from "./ConfigEditor";
export { ConfigForm } from "./ConfigForm";
export { FieldChanges } from "./FieldChanges";
export { PipelineGraph } from "./PipelineGraph";
/** Columns by pointer from the `steps` of POST /preview. */
export { columnsOfPreview } from "./columns";
/** The config of a text, or null when it is no JSON object. */
export { readConfig } from "./json/read";
/** Edits of a text by JSON pointer that leave the rest as it is: `set`, `remove`, …; `retext(text, config)` for a whole. */
export { edits, retext } from "./json/edit";
/** The fixes that one click can apply: `fixes(text, finding)` gives label and new text of each. */
export { fixes } from "./fixes";
