// SPDX-License-Identifier: Apache-2.0
import { lazy, Suspense, useEffect, type ReactElement } from 'react';
import { useUi } from '../store/ui.ts';

const Confirm = lazy(() => import('./Confirm.tsx'));
const loadPalette = () => import('../features/palette/Palette.tsx');
const Palette = lazy(loadPalette);
const Shortcuts = lazy(() => import('../features/palette/Shortcuts.tsx'));
const NetworkDialog = lazy(() => import('../features/networks/NetworkDialog.tsx'));
const NewGuest = lazy(() => import('../features/guests/NewGuest.tsx'));

/**
 * The dialogs that belong to no place. Their code is loaded when the first of a kind is opened; the palette’s when
 * there is nothing better to do, for whoever opens it types on at once.
 */
export function Dialogs(): ReactElement {
  const palette = useUi((ui) => ui.palette);
  const shortcuts = useUi((ui) => ui.shortcuts);
  const newGuest = useUi((ui) => ui.newGuest);
  const networkForm = useUi((ui) => ui.networkForm);
  const confirm = useUi((ui) => ui.confirm);
  useEffect(() => {
    const idle = requestIdleCallback(() => void loadPalette());
    return () => cancelIdleCallback(idle);
  }, []);
  return (
    <Suspense fallback={null}>
      {palette ? <Palette /> : null}
      {shortcuts ? <Shortcuts /> : null}
      {newGuest ? <NewGuest /> : null}
      {networkForm ? <NetworkDialog network={networkForm.network} /> : null}
      {confirm ? <Confirm question={confirm} /> : null}
    </Suspense>
  );
}
