// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Tooltip, TooltipTrigger } from 'react-aria-components';
import styles from './Tip.module.css';

/** A tooltip on a focusable child, for the mouse and the keyboard. It describes; the name is the child's own. */
export function Tip({
  text,
  children,
}: {
  /** None now: one that comes and goes must not make its child another one, which would lose the keyboard. */
  readonly text: string | undefined;
  readonly children: ReactElement;
}): ReactElement {
  return (
    <TooltipTrigger delay={500} closeDelay={100} isDisabled={text === undefined}>
      {children}
      <Tooltip className={styles.tip ?? ''} offset={6}>
        {text}
      </Tooltip>
    </TooltipTrigger>
  );
}
