// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Button } from '../lib/Button.tsx';
import { commandById } from '../commands/command.ts';
import { useCommand } from '../commands/use-command.ts';
import { cx } from '../lib/class-names.ts';
import { useUi, type View } from '../store/ui.ts';
import styles from './NavRail.module.css';

/** The rail of places. */
export function NavRail(): ReactElement {
  return (
    <nav className={styles.rail} aria-label="Places">
      <Place view="map" />
      <Place view="guests" />
      <Place view="checks" />
      <Place view="log" />
      <span className={styles.space} />
      <Place view="settings" />
    </nav>
  );
}

function Place({ view }: { readonly view: View }): ReactElement {
  const { label, run } = useCommand(`view.${view}`, null);
  const here = useUi((ui) => ui.view === view);
  const { icon: Icon, shortcut } = commandById(`view.${view}`);
  return (
    <Button
      variant="ghost"
      iconOnly
      aria-label={label}
      {...(here ? { 'aria-current': 'page' } : {})}
      tip={shortcut === undefined ? label : `${label} (${shortcut})`}
      className={cx(styles.place, here && styles.here)}
      onPress={run}
    >
      <Icon aria-hidden />
    </Button>
  );
}
