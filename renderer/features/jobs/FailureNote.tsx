// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { type Failure, useUi } from '../../store/ui.ts';

interface FailureNoteProps {
  /** Its key among the failures. */
  readonly at: string;
  readonly failure: Failure;
}

/** A command that failed, until it is dismissed. */
export function FailureNote({ at, failure }: FailureNoteProps): ReactElement {
  return (
    <ErrorNote
      title={`${failure.title} failed`}
      error={failure.error}
      onDismiss={() => useUi.getState().setFailure(at, null)}
    />
  );
}
