import { Badge, Box, Stack, chakra } from "@chakra-ui/react";
import type { ReactNode } from "react";

interface FoldProps {
  title: string;
  count?: number;
  isOpen?: boolean;
  /** Told when it is opened or shut: what it shows needs not be asked for before. */
  onToggle?: (isOpen: boolean) => void;
  children: ReactNode;
}

/** Something that is not always needed, behind its title. */
export function Fold({ title, count = 0, isOpen = false, onToggle, children }: FoldProps) {
  return (
    <Box as="details" borderRadius="md" borderWidth={1} onToggle={(event) => onToggle?.((event.target as HTMLDetailsElement).open)} px={3} py={2} {...(isOpen && { open: true })}>
      <chakra.summary cursor="pointer" fontSize="sm" fontWeight="medium">
        {title} {count > 0 && <Badge ms={1}>{count}</Badge>}
      </chakra.summary>
      <Stack gap={3} mt={3}>
        {children}
      </Stack>
    </Box>
  );
}
