import { Box, Flex, Heading, Link as Anchor, Text } from "@chakra-ui/react";
import { type ReactNode, useEffect } from "react";
import { Link } from "react-router-dom";
import { paths } from "../paths";
import { strings } from "../strings";

interface PageProps {
  title: ReactNode;
  subtitle?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  /** Use the whole width. */
  wide?: boolean;
  /** The list itself has no way to the list. */
  isList?: boolean;
}

/** A page: its title, what can be done on it, and its content. */
export function Page({ title, subtitle, actions, children, wide = false, isList = false }: PageProps) {
  useTitle(typeof title === "string" ? title : null);
  return (
    <Box as="main" maxW={wide ? "full" : "7xl"} mx="auto" px={{ base: 3, md: 6 }} py={{ base: 3, md: 5 }} minW={0}>
      <Flex align="center" gap={3} justify="space-between" mb={4} wrap="wrap">
        <Box minW={0}>
          {!isList && (
            <Anchor asChild color="fg.muted" fontSize="sm" variant="underline">
              <Link to={paths.list()}>{strings.pipelines.title}</Link>
            </Anchor>
          )}
          <Heading as="h1" overflowWrap="anywhere" size={{ base: "lg", md: "xl" }}>
            {title}
          </Heading>
          {subtitle && (
            <Text as="div" color="fg.muted" fontSize="sm">
              {subtitle}
            </Text>
          )}
        </Box>
        {actions && (
          <Flex gap={2} wrap="wrap">
            {actions}
          </Flex>
        )}
      </Flex>
      {children}
    </Box>
  );
}

/** Name the browser's tab after the page, as long as it is there. */
function useTitle(title: string | null) {
  useEffect(() => {
    if (title === null) return;
    const before = document.title;
    document.title = `${title} - Airflow`;
    return () => {
      document.title = before;
    };
  }, [title]);
}
