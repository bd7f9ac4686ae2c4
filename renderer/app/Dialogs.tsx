// SPDX-License-Identifier: Apache-2.0
import { lazy, Suspense, type ReactElement } from 'react';
import { Button } from '../lib/Button.tsx';
import { Dialog, DialogActions } from '../lib/Dialog.tsx';
import { useUi } from '../store/ui.ts';
import styles from './Dialogs.module.css';

const Palette = lazy(() => import('../features/palette/Palette.tsx'));
const Shortcuts = lazy(() => import('../features/palette/Shortcuts.tsx'));
const NewGuest = lazy(() => import('../features/guests/NewGuest.tsx'));

/** The dialogs that belong to no place. Their code is loaded when the first of a kind is opened. */
export function Dialogs(): ReactElement {
  const palette = useUi((ui) => ui.palette);
  const shortcuts = useUi((ui) => ui.shortcuts);
  const newGuest = useUi((ui) => ui.newGuest);
  return (
    <Suspense fallback={null}>
      {palette ? <Palette /> : null}
      {shortcuts ? <Shortcuts /> : null}
      {newGuest ? <NewGuest /> : null}
      <Confirm />
    </Suspense>
  );
}

const close = (): void => useUi.setState({ confirm: null });

/** The question of a command that cannot be taken back. */
function Confirm(): ReactElement | null {
  const question = useUi((ui) => ui.confirm);
  if (!question) return null;
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
