import { Box, Button, Flex, Heading, Input, SimpleGrid, Text } from "@chakra-ui/react";
import { useState } from "react";
import { Link } from "react-router-dom";
import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Empty, Loaded } from "../../ui/states";

const words = strings.pipelines;
const STEP = 9;

/** What leads to a first pipeline: a sentence of one's own, or an example. */
export function FirstPipeline({ creates }: { creates: boolean }) {
  const examples = useQuery<Forms["ExamplesForm"]>(creates ? "/examples" : null);
  if (!creates) return <Empty description={words.noneReader} title={words.noneTitle} />;
  return (
    <>
      <Empty description={words.noneText} title={words.noneTitle}>
        <Button asChild colorPalette="brand" mt={4}>
          <Link to={paths.create()}>{words.describe}</Link>
        </Button>
      </Empty>
      <Loaded query={examples}>{(data) => <Examples examples={data.examples} />}</Loaded>
    </>
  );
}

function Examples({ examples }: { examples: Forms["ExampleForm"][] }) {
  const [search, setSearch] = useState("");
  const [most, setMost] = useState(STEP);
  const found = examples
    .filter((one) => `${one.request} ${one.id}`.toLowerCase().includes(search.toLowerCase()))
    .sort((one, other) => size(one) - size(other));
  return (
    <Box mt={6}>
      <Flex align="center" gap={3} justify="space-between" mb={3} wrap="wrap">
        <Heading as="h2" size="md">
          {words.examples}
        </Heading>
        <Input
          aria-label={words.exampleSearch}
          maxW="20rem"
          onChange={(event) => setSearch(event.target.value)}
          placeholder={words.exampleSearch}
          size="sm"
          type="search"
          value={search}
        />
      </Flex>
      <SimpleGrid columns={{ base: 1, md: 2, xl: 3 }} gap={3}>
        {found.slice(0, most).map((one) => (
          <Example example={one} key={one.id} />
        ))}
      </SimpleGrid>
      {found.length > most && (
        <Button mt={3} onClick={() => setMost(most + STEP)} size="sm" variant="outline">
          {words.moreExamples}
        </Button>
      )}
    </Box>
  );
}

/** Those that say the least come first. */
const size = (example: Forms["ExampleForm"]) => JSON.stringify(example.config).length;

function Example({ example }: { example: Forms["ExampleForm"] }) {
  return (
    <Flex borderRadius="md" borderWidth={1} direction="column" gap={3} justify="space-between" lang={example.language} p={3}>
      <Text fontSize="sm">{example.request}</Text>
      <Button alignSelf="start" asChild lang="en" size="xs" variant="outline">
        <Link aria-label={words.useExampleOf(example.id)} to={paths.create({ example: example.id })}>
          {words.useExample}
        </Link>
      </Button>
    </Flex>
  );
}
