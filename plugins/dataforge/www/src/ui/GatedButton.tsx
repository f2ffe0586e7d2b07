import { Button, type ButtonProps } from "@chakra-ui/react";

/** A button that says why it can't be used: `why` null lets it. It keeps its focus, so that everybody is told. */
export function GatedButton({ why, onClick, ...rest }: ButtonProps & { why: string | null }) {
  if (why === null) return <Button onClick={onClick} {...rest} />;
  return <Button {...rest} aria-description={why} aria-disabled cursor="not-allowed" opacity={0.5} title={why} />;
}
