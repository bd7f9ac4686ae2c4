// SPDX-License-Identifier: Apache-2.0
import { useEffect, type ReactElement } from 'react';
import { later, loadLater } from '../lib/later.tsx';
import { useUi } from '../store/ui.ts';

const Confirm = later(() => import('./Confirm.tsx'));
const Palette = later(() => import('../features/palette/Palette.tsx'));
const Shortcuts = later(() => import('../features/palette/Shortcuts.tsx'));
const NetworkDialog = later(() => import('../features/networks/NetworkDialog.tsx'));
const NewGuest = later(() => import('../features/guests/NewGuest.tsx'));

/** The dialogs that belong to no place. */
export function Dialogs(): ReactElement {
  const palette = useUi((ui) => ui.palette);
  const shortcuts = useUi((ui) => ui.shortcuts);
  const newGuest = useUi((ui) => ui.newGuest);
  const networkForm = useUi((ui) => ui.networkForm);
  const confirm = useUi((ui) => ui.confirm);
  useEffect(loadLater, []);
  return (
    <>
      {palette ? <Palette /> : null}
      {shortcuts ? <Shortcuts /> : null}
      {newGuest ? <NewGuest /> : null}
      {networkForm ? <NetworkDialog network={networkForm.network} /> : null}
      {confirm ? <Confirm question={confirm} /> : null}
    </>
  );
}
