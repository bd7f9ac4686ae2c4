// SPDX-License-Identifier: Apache-2.0
import type { FormEvent, ReactElement, ReactNode, RefObject } from 'react';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import styles from './SmallForm.module.css';
import { SubmitButton } from './SubmitButton.tsx';
import type { Submission } from './use-submission.ts';

interface SmallFormProps {
  readonly label: string;
  readonly formRef?: RefObject<HTMLFormElement | null>;
  readonly submission: Submission;
  readonly submit: string;
  /** What its button says meanwhile. */
  readonly sendingText?: string | undefined;
  /** What it means that the submission was refused. */
  readonly refused: string;
  readonly onSubmit: () => void;
  readonly onCancel: () => void;
  readonly children: ReactNode;
}

/** A form in a section of the inspector, opened there by a button. */
export function SmallForm({
  label,
  formRef,
  submission: { sending, error },
  submit,
  sendingText,
  refused,
  onSubmit,
  onCancel,
  children,
}: SmallFormProps): ReactElement {
  const send = (event: FormEvent): void => {
    event.preventDefault();
    onSubmit();
  };
  return (
    <form ref={formRef} className={styles.form} aria-label={label} noValidate onSubmit={send}>
      {children}
      {error ? <ErrorNote title={refused} error={error} /> : null}
      <div className={styles.actions}>
        <Button size="small" onPress={onCancel}>
          Cancel
        </Button>
        <SubmitButton size="small" sending={sending} sendingText={sendingText}>
          {submit}
        </SubmitButton>
      </div>
    </form>
  );
}
