import { Box, Button, Flex, Heading, Stack, Text } from "@chakra-ui/react";
import { Link } from "react-router-dom";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Findings } from "../../ui/Findings";
import type { Broken } from "./listing";

const words = strings.pipelines;

/** The files of which no pipeline can be made, with what is wrong with them. */
export function BrokenFiles({ files }: { files: Broken[] }) {
  return (
    <Box
      aria-labelledby="broken-files"
      as="section"
      borderColor="border.error"
      borderRadius="md"
      borderWidth={1}
      p={{ base: 3, md: 4 }}
    >
      <Heading as="h2" id="broken-files" size="sm">
        {words.brokenTitle}
      </Heading>
      <Text color="fg.muted" fontSize="sm" mb={3}>
        {words.brokenText}
      </Text>
      <Stack gap={4}>
        {files.map((one) => (
          <Box key={one.file}>
            <Flex align="center" gap={2} mb={1} wrap="wrap">
              <Text fontWeight="medium" overflowWrap="anywhere">
                {one.file}
              </Text>
              {one.may_edit && (
                <Button asChild size="xs" variant="outline">
                  <Link aria-label={words.editOf(one.file)} to={paths.edit(one.file)}>
                    {words.edit}
                  </Link>
                </Button>
              )}
            </Flex>
            <Findings findings={one.findings} />
          </Box>
        ))}
      </Stack>
    </Box>
  );
}
