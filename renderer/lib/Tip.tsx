// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Tooltip, TooltipTrigger } from 'react-aria-components';
import styles from './Tip.module.css';

/** A tooltip on a focusable child, for the mouse and the keyboard. It describes; the name is the child's own. */
export function Tip({
  text,
  children,
}: {
  readonly text: string;
  readonly children: ReactElement;
}): ReactElement {
  return (
    <TooltipTrigger delay={500} closeDelay={100}>
      {children}
      <Tooltip className={styles.tip ?? ''} offset={6}>
        {text}
      </Tooltip>
    </TooltipTrigger>
  );
}
