// SPDX-License-Identifier: Apache-2.0
import { X } from 'lucide-react';
import { useEffect, type ReactElement } from 'react';
import { Boundary } from '../../lib/Boundary.tsx';
import { Button } from '../../lib/Button.tsx';
import { cx } from '../../lib/class-names.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { GuestInspector } from './GuestInspector.tsx';
import styles from './Inspector.module.css';
import { LabInspector, UplinkInspector } from './LabInspector.tsx';
import { LinkInspector } from './LinkInspector.tsx';
import { NetworkInspector } from './NetworkInspector.tsx';

interface InspectorProps {
  readonly lab: Row<'labs'>;
  readonly width: number;
  /** Whether it takes its room from the map for as long as it is needed, for want of more: Escape closes it. */
  readonly overlay: boolean;
}

/** Everything about what is selected; about the lab when nothing is. */
export function Inspector({ lab, width, overlay }: InspectorProps): ReactElement {
  useEffect(() => {
    if (!overlay) return;
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape' || event.defaultPrevented || useUi.getState().focusedConsole !== null)
        return;
      useUi.setState({ overlayOpen: false });
    };
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  }, [overlay]);
  const close = (): void => {
    if (overlay) useUi.setState({ overlayOpen: false });
    else useUi.getState().keep({ inspectorOpen: false });
  };
  return (
    <aside
      className={cx(styles.inspector, overlay && styles.overlay)}
      aria-label="Inspector"
      {...(overlay ? {} : { style: { width } })}
    >
      <Button
        variant="ghost"
        size="small"
        iconOnly
        aria-label="Close the inspector"
        className={styles.close}
        onPress={close}
      >
        <X aria-hidden />
      </Button>
      <Boundary>
        <Selected lab={lab} />
      </Boundary>
    </aside>
  );
}

function Selected({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const selection = useUi((ui) => ui.selection);
  const guest = useTables((tables) =>
    selection?.kind === 'guest' ? tables.guests.get(selection.id) : undefined,
  );
  const network = useTables((tables) =>
    selection?.kind === 'network' || selection?.kind === 'nat'
      ? tables.networks.get(selection.id)
      : undefined,
  );
  const link = useTables((tables) =>
    selection?.kind === 'link' ? tables.links.get(selection.id) : undefined,
  );
  if (guest) return <GuestInspector key={guest.id} guest={guest} />;
  if (network) return <NetworkInspector key={network.id} network={network} nat={selection?.kind === 'nat'} />;
  if (link) return <LinkInspector key={link.id} link={link} />;
  if (selection?.kind === 'uplink') return <UplinkInspector lab={lab} />;
  return <LabInspector lab={lab} />;
}
