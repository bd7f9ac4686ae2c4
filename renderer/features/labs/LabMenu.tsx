// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Menu, MenuItem } from '../../lib/Menu.tsx';
import type { MenuPlace } from '../../lib/MenuButton.tsx';
import { elideMiddle } from '../../lib/format.ts';
import { useLabs } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';

/** The labs that are open. */
export default function LabMenu({ lab, ...place }: MenuPlace & { readonly lab: Row<'labs'> }): ReactElement {
  const labs = useLabs();
  return (
    <Menu {...place} label="Open labs">
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
