import { Alert, Badge, Button, Card, HStack, Heading, Stack, Text } from "@chakra-ui/react";
import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Loaded } from "../../ui/states";

const words = strings.settings.models;
type Provider = Forms["ProviderForm"];

/** The connections to model servers: whether each answers, and what its models are used for. */
export function Providers() {
  const models = useQuery<Forms["ModelsForm"]>("/models");
  return (
    <Stack gap={4}>
      <Button alignSelf="start" onClick={models.reload} size="sm" variant="outline">
        {words.again}
      </Button>
      <Loaded query={models}>
        {({ connections }) =>
          connections.map((one) => (one.provider ? <Server key={one.connection} provider={one} /> : <None key="" provider={one} />))
        }
      </Loaded>
    </Stack>
  );
}

function Server({ provider }: { provider: Provider }) {
  return (
    <Card.Root as="section" size="sm">
      <Card.Header>
        <HStack wrap="wrap">
          <Heading as="h2" size="md">
            {provider.connection || provider.provider}
          </Heading>
          <Text color="fg.muted">{provider.provider}</Text>
          <Badge colorPalette={provider.error ? "red" : "green"}>{provider.error ? words.away : words.answers}</Badge>
        </HStack>
      </Card.Header>
      <Card.Body gap={3}>
        {provider.error && <Text overflowWrap="anywhere">{provider.error}</Text>}
        {provider.models.length > 0 && (
          <DataTable
            columns={[
              { name: "name", header: words.model, cell: (one) => one.name },
              { name: "tasks", header: words.tasks, cell: (one) => one.tasks.join(", ") || words.noTask },
            ]}
            keyOf={(one) => one.name}
            label={words.title(provider.connection || provider.provider)}
            rows={provider.models}
          />
        )}
      </Card.Body>
    </Card.Root>
  );
}

/** Without any model the pages stay useful; this says what to do to have one. */
function None({ provider }: { provider: Provider }) {
  return (
    <Alert.Root alignItems="start" status="info">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{words.none}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">{provider.error}</Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}
