// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Boundary } from '../lib/Boundary.tsx';
import { NoLab } from '../features/labs/NoLab.tsx';
import { useCore } from '../store/core.ts';
import { useLab } from '../store/select.ts';
import { useTables } from '../store/tables.ts';
import { useUi } from '../store/ui.ts';
import { Dialogs } from './Dialogs.tsx';
import { Frame } from './Frame.tsx';
import { LiveRegion } from './LiveRegion.tsx';
import { Connecting } from './Connecting.tsx';

const closeDialogs = (): void =>
  useUi.setState({ palette: false, shortcuts: false, newGuest: false, confirm: null });

/** The window: a skeleton until a core has answered, then the lab in view, or how to open one. */
export function App(): ReactElement {
  const first = useCore((state) => state.status === 'first' || state.client === null);
  const answered = useTables((tables) => tables.host.size > 0 || tables.labs.size > 0);
  const mismatch = useCore((state) => state.status === 'mismatch');
  const lab = useLab();
  if (first || (mismatch && !answered)) return <Connecting />;
  return (
    <>
      <Boundary>{lab ? <Frame lab={lab} /> : <NoLab />}</Boundary>
      <Boundary onDismiss={closeDialogs}>
        <Dialogs />
      </Boundary>
      <LiveRegion />
    </>
  );
}
