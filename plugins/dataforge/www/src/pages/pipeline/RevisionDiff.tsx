import { Heading, Stack } from "@chakra-ui/react";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Loaded } from "../../ui/states";
import { TextDiff } from "../../ui/TextDiff";
import { fileUrl } from "./links";

const words = strings.pipeline.revisions;

/** Two revisions compared, the older one first; one alone is compared with the file as it is. */
export function RevisionDiff({ file, chosen }: { file: string; chosen: number[] }) {
  const [older, newer] = [Math.min(...chosen), Math.max(...chosen)];
  const alone = older === newer;
  const before = useQuery<{ text: string | null }>(`${fileUrl(file)}/revisions/${older}`);
  const after = useQuery<{ text: string | null }>(alone ? fileUrl(file) : `${fileUrl(file)}/revisions/${newer}`);
  const title = alone ? words.againstFile(older) : words.between(older, newer);
  return (
    <Stack gap={2}>
      <Heading as="h3" size="sm">
        {title}
      </Heading>
      <Loaded query={before}>
        {(one) => (
          <Loaded query={after}>
            {(two) => <TextDiff after={two.text ?? ""} before={one.text ?? ""} label={title} />}
          </Loaded>
        )}
      </Loaded>
    </Stack>
  );
}
