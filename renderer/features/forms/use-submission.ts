// SPDX-License-Identifier: Apache-2.0
import { useState } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';

/** What a form has sent: whether the answer is awaited, and why the last one was a refusal. */
export interface Submission {
  readonly sending: boolean;
  readonly error: ErrorData | null;
  /** Sends, then does `sent`; a form that closes itself there is not touched again. */
  readonly send: (request: () => Promise<unknown>, sent: () => void) => void;
}

export function useSubmission(): Submission {
  const [sending, setSending] = useState(false);
  const [error, setError] = useState<ErrorData | null>(null);
  const send: Submission['send'] = (request, sent) => {
    setSending(true);
    setError(null);
    request().then(sent, (thrown: unknown) => {
      setSending(false);
      setError(TapyardError.from(thrown).toData());
    });
  };
  return { sending, error, send };
}
