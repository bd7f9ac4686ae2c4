// SPDX-License-Identifier: Apache-2.0
import { ChevronDown } from 'lucide-react';
import type { ReactElement } from 'react';
import { MenuButton } from '../../lib/MenuButton.tsx';
import { elideMiddle } from '../../lib/format.ts';
import { later } from '../../lib/later.tsx';
import type { Row } from '../../store/tables.ts';
import styles from './LabPicker.module.css';

const LabMenu = later(() => import('./LabMenu.tsx'));

/** The lab in view, and the way to the others that are open. */
export function LabPicker({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  return (
    <MenuButton
      variant="ghost"
      className={styles.trigger}
      aria-label={`Lab ${lab.name}, choose another`}
      tip={lab.file}
      renderMenu={(place) => <LabMenu {...place} lab={lab} />}
    >
      {elideMiddle(lab.name, 24)} <ChevronDown aria-hidden />
    </MenuButton>
  );
}
