// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Button } from '../../lib/Button.tsx';

interface SubmitButtonProps {
  readonly sending: boolean;
  readonly size?: 'small';
  readonly children: string;
}

/** Sends a form that writes into the lab file. */
export function SubmitButton({ sending, size, children }: SubmitButtonProps): ReactElement {
  return (
    <Button
      variant="primary"
      type="submit"
      {...(size === undefined ? {} : { size })}
      unavailable={sending ? 'Writing the lab file…' : undefined}
    >
      {sending ? 'Writing…' : children}
    </Button>
  );
}
