import { Badge, Box, Stack } from "@chakra-ui/react";
import { strings } from "../../strings";
import { ValidityBadge } from "../../ui/badges";
import type { Listed } from "./listing";

const words = strings.pipelines;

interface ValidityProps {
  pipeline: Listed;
  isOpen: boolean;
  onToggle: () => void;
}

/** Whether a pipeline is valid and Airflow could load it; a click shows what was found. */
export function Validity({ pipeline, isOpen, onToggle }: ValidityProps) {
  const count = pipeline.findings.length + (pipeline.import_error ? 1 : 0);
  const label = isOpen ? words.hideFindings(pipeline.dag_id) : words.showFindings(pipeline.dag_id, count);
  return (
    <Stack align="start" gap={1}>
      {count > 0 ? (
        <Box aria-expanded={isOpen} aria-label={label} as="button" cursor="pointer" onClick={onToggle} title={label}>
          <ValidityBadge findings={pipeline.findings} valid={pipeline.valid} />
          <Box aria-hidden as="span" ml={1}>
            {isOpen ? "▾" : "▸"}
          </Box>
        </Box>
      ) : (
        <ValidityBadge findings={pipeline.findings} valid={pipeline.valid} />
      )}
      {pipeline.import_error && <Badge colorPalette="red">{words.importError}</Badge>}
      {pipeline.valid && !pipeline.parsed && <Badge>{words.notParsed}</Badge>}
    </Stack>
  );
}
