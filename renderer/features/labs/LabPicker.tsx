// SPDX-License-Identifier: Apache-2.0
import { ChevronDown } from 'lucide-react';
import type { ReactElement } from 'react';
import { Button } from '../../lib/Button.tsx';
import { Menu, MenuItem } from '../../lib/Menu.tsx';
import { elideMiddle } from '../../lib/format.ts';
import { useLabs } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './LabPicker.module.css';

/** The lab in view, and the way to the others that are open. */
export function LabPicker({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const labs = useLabs();
  return (
    <Menu
      label="Open labs"
      trigger={
        <Button
          variant="ghost"
          className={styles.trigger}
          aria-label={`Lab ${lab.name}, choose another`}
          tip={lab.file}
        >
          {elideMiddle(lab.name, 24)} <ChevronDown aria-hidden />
        </Button>
      }
    >
      {labs.map((other) => (
        <MenuItem
          key={other.id}
          id={other.id}
          detail={`${other.state} · ${other.scope} scope · ${elideMiddle(other.file, 44)}`}
          onAction={() => useUi.getState().chooseLab(other.id)}
        >
          {other.id === lab.id ? `${other.name} (in view)` : other.name}
        </MenuItem>
      ))}
    </Menu>
  );
}
