// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, type FormEvent, type ReactElement, type ReactNode, type RefObject } from 'react';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { useFocusHome } from '../../lib/use-focus-home.ts';
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
  const own = useRef<HTMLFormElement>(null);
  const ref = formRef ?? own;
  // The keyboard is in its first field, which is in sight by that; the others and the buttons need not be.
  useEffect(() => {
    // In braces: Chromium answers a promise, which is nothing to end an effect with.
    ref.current?.scrollIntoView({ block: 'nearest' });
  }, [ref]);
  useFocusHome(ref);
  const send = (event: FormEvent): void => {
    event.preventDefault();
    onSubmit();
  };
  return (
    <form ref={ref} className={styles.form} aria-label={label} noValidate onSubmit={send}>
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
