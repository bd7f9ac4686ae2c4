// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import type { ErrorData } from '../../../electron/contract/error.ts';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { useTables } from '../../store/tables.ts';

interface SaveErrorProps {
  readonly title: string;
  readonly error: ErrorData;
  readonly lab: string;
  readonly onRetry: (fileHash: string) => void;
}

/** Why the lab file was not written. One that was edited meanwhile is no reason to type all of it again. */
export function SaveError({ title, error, lab, onRetry }: SaveErrorProps): ReactElement {
  const hash = useTables((tables) => tables.labs.get(lab)?.fileHash);
  return (
    <div role="alert">
      <ErrorNote title={title} error={error}>
        {error.code === 'LAB_FILE_CHANGED' && hash !== undefined ? (
          <Button size="small" onPress={() => onRetry(hash)}>
            Try again on the file as it is now
          </Button>
        ) : null}
      </ErrorNote>
    </div>
  );
}
