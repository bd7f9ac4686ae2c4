// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Button } from '../../lib/Button.tsx';

interface SubmitButtonProps {
  readonly sending: boolean;
  readonly size?: 'small';
  /** What it says meanwhile, where more is done than the file is written. */
  readonly sendingText?: string | undefined;
  readonly children: string;
}

/** Sends a form that writes into the lab file. */
export function SubmitButton({ sending, size, sendingText, children }: SubmitButtonProps): ReactElement {
  return (
    <Button
      variant="primary"
      type="submit"
      {...(size === undefined ? {} : { size })}
      unavailable={sending ? (sendingText ?? 'Writing the lab file…') : undefined}
    >
      {sending ? (sendingText ?? 'Writing…') : children}
    </Button>
  );
}
