/** What the routes about one pipeline answer. */
import type { Finding, Forms } from "../../api/client";
import type { JsonObject } from "../../draft";

export type Pipeline = Omit<Forms["PipelineForm"], "config"> & { config: JsonObject };
export type Value = Forms["ValueForm"];
export type Revision = Forms["ListedRevision"];
export type RevisionText = Forms["RevisionForm"];
export type ConfigText = Forms["ConfigForm"];
export type Run = Forms["RunForm"];
export type Status = Forms["StatusForm"];
export type Letters = Forms["LettersForm"];
export type Letter = Forms["LetterForm"];
export type LineageColumn = Forms["ColumnForm"];

/** What came of "Fix this run": a repair, with what its log said. */
export interface Repaired {
  status: "valid" | "findings";
  stopped: string;
  config: JsonObject | null;
  text: string;
  findings: Finding[];
  advice: Finding[];
  notes: string[];
  failure: { explanation: string; errors: string[]; log: string } | null;
}
