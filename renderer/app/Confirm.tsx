// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Button } from '../lib/Button.tsx';
import { Dialog, DialogActions } from '../lib/Dialog.tsx';
import { useUi, type Question } from '../store/ui.ts';
import styles from './Confirm.module.css';

const close = (): void => useUi.setState({ confirm: null });

/** A question to answer before something is done. */
export default function Confirm({ question }: { readonly question: Question }): ReactElement {
  return (
    <Dialog title={question.title} open role="alertdialog" width="narrow" onClose={close}>
      <p className={styles.question}>{question.text}</p>
      <DialogActions>
        <Button onPress={close}>Cancel</Button>
        <Button
          variant="primary"
          // eslint-disable-next-line jsx-a11y/no-autofocus -- a question wants an answer
          autoFocus
          onPress={() => {
            close();
            question.act();
          }}
        >
          {question.action}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
