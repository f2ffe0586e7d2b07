import { Badge, Box, Button, Flex, Text } from "@chakra-ui/react";
import { strings } from "../../strings";
import { fixes } from "../fixes";
import type { Finding } from "../types";
import { useForm } from "./context";

const words = strings.common;
const palettes = { error: "red", warning: "orange", info: "blue" } as const;

/** Findings beside their field, with the fixes that one click applies. */
export function FieldFindings({ findings, id }: { findings: readonly Finding[]; id?: string }) {
  if (!findings.length) return null;
  return (
    <Box id={id} mt={1}>
      {findings.map((finding, index) => (
        <Flex align="baseline" gap={2} key={index} wrap="wrap">
          <Badge colorPalette={palettes[finding.severity]} size="sm">
            {words.severity[finding.severity]}
          </Badge>
          <Text fontSize="sm" minW={0} overflowWrap="anywhere">
            {finding.message}
            {finding.suggestion && ` (${finding.suggestion})`}
          </Text>
          <Fixes finding={finding} />
        </Flex>
      ))}
    </Box>
  );
}

function Fixes({ finding }: { finding: Finding }) {
  const { change, config, readOnly } = useForm();
  if (readOnly) return null;
  const labels = fixes(JSON.stringify(config()), finding).map(({ label }) => label);
  const apply = (label: string): void =>
    change((text) => fixes(text, finding).find((fix) => fix.label === label)?.text ?? text);
  return labels.map((label) => (
    <Button key={label} onClick={() => apply(label)} size="2xs" variant="outline">
      {label}
    </Button>
  ));
}
