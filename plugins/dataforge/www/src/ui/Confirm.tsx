import { Button, CloseButton, Dialog, Field, Portal, Stack, Textarea } from "@chakra-ui/react";
import { type ReactNode, useState } from "react";
import { strings } from "../strings";
import { Failure } from "./states";

interface ConfirmProps {
  title: string;
  children?: ReactNode;
  /** What the button says that does it. */
  action: string;
  palette?: string;
  /** Label of a text that goes with it, such as the reason; none without. */
  ask?: string;
  busy: boolean;
  error?: Error;
  onConfirm: (text: string) => void;
  onClose: () => void;
}

/** Asks before something is done; stays open with the reason when that fails. */
export function Confirm({ title, children, action, palette = "brand", ask, busy, error, onConfirm, onClose }: ConfirmProps) {
  const [text, setText] = useState("");
  return (
    <Dialog.Root onOpenChange={({ open }) => !open && onClose()} open role="alertdialog" scrollBehavior="inside" size="lg">
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content>
            <Dialog.Header>
              <Dialog.Title>{title}</Dialog.Title>
            </Dialog.Header>
            <Dialog.Body>
              <Stack gap={4}>
                {error && <Failure error={error} />}
                {children}
                {ask && (
                  <Field.Root>
                    <Field.Label>{ask}</Field.Label>
                    <Textarea maxLength={1000} onChange={(event) => setText(event.target.value)} rows={2} value={text} />
                  </Field.Root>
                )}
              </Stack>
            </Dialog.Body>
            <Dialog.Footer>
              <Button onClick={onClose} variant="outline">
                {strings.confirm.cancel}
              </Button>
              <Button colorPalette={palette} loading={busy} onClick={() => onConfirm(text.trim())}>
                {action}
              </Button>
            </Dialog.Footer>
            <Dialog.CloseTrigger asChild>
              <CloseButton aria-label={strings.common.close} size="sm" />
            </Dialog.CloseTrigger>
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}
