import { Badge, Box, Code, Flex, List, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";
import type { Finding } from "../api/client";
import { strings } from "../strings";

const words = strings.common;
const palettes = { error: "red", warning: "orange", info: "blue" } as const;

interface FindingsProps {
  findings: Finding[];
  /** What a click on a finding's place does, such as showing its line. */
  onPlace?: (finding: Finding) => void;
  /** What stands beside a finding, such as the button of its fix. */
  action?: (finding: Finding) => ReactNode;
}

/** What checks found: how bad, what, where, and what would be right. */
export function Findings({ findings, onPlace, action }: FindingsProps) {
  return (
    <List.Root gap={2} listStyle="none">
      {findings.map((one, index) => (
        <List.Item key={index}>
          <Flex align="start" gap={2} wrap={{ base: "wrap", md: "nowrap" }}>
            <Badge colorPalette={palettes[one.severity]} flexShrink={0}>
              {words.severity[one.severity]}
            </Badge>
            <Box flex={1} fontSize="sm" minW={0} overflowWrap="anywhere">
              <Text>{one.message}</Text>
              <Right finding={one} />
              <Place finding={one} onPlace={onPlace} />
            </Box>
            {action?.(one)}
          </Flex>
        </List.Item>
      ))}
    </List.Root>
  );
}

function Right({ finding }: { finding: Finding }) {
  if (finding.suggestion)
    return (
      <Text>
        {words.suggestion} {finding.suggestion}
      </Text>
    );
  if (!finding.allowed?.length) return null;
  return (
    <Text>
      {words.allowed} {finding.allowed.join(", ")}
    </Text>
  );
}

function Place({ finding, onPlace }: { finding: Finding; onPlace?: (finding: Finding) => void }) {
  const place = [finding.pointer, finding.line ? words.place(finding.line, finding.column) : ""].filter(Boolean);
  return (
    <Text color="fg.muted" fontSize="xs">
      <Code size="xs" variant="plain">
        {finding.code}
      </Code>{" "}
      {onPlace && place.length > 0 ? (
        <Box as="button" onClick={() => onPlace(finding)} textDecoration="underline">
          {place.join(" · ")}
        </Box>
      ) : (
        place.join(" · ")
      )}
    </Text>
  );
}
