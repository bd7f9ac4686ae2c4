// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import {
  Menu as AriaMenu,
  MenuItem as AriaMenuItem,
  Popover,
  Text,
  type MenuItemProps as AriaMenuItemProps,
  type PopoverProps,
} from 'react-aria-components';
import styles from './Menu.module.css';
import type { MenuPlace } from './MenuButton.tsx';
import { cx } from './class-names.ts';

interface MenuProps extends MenuPlace {
  readonly label: string;
  readonly placement?: PopoverProps['placement'];
  readonly children: ReactNode;
}

/** A menu, open at its anchor. */
export function Menu({
  anchor,
  focus,
  onClose,
  label,
  placement = 'bottom start',
  children,
}: MenuProps): ReactElement {
  const focused = { autoFocus: focus }; // taken by the menu, and not among its declared props
  return (
    <Popover
      triggerRef={anchor}
      placement={placement}
      offset={4}
      isOpen
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
      className={styles.popover ?? ''}
    >
      <AriaMenu {...focused} aria-label={label} onClose={onClose} className={styles.menu ?? ''}>
        {children}
      </AriaMenu>
    </Popover>
  );
}

interface MenuItemProps extends Omit<AriaMenuItemProps, 'className' | 'style' | 'children'> {
  readonly icon?: ReactNode;
  /** A second line: a state, or why it cannot be chosen. */
  readonly detail?: string | undefined;
  readonly shortcut?: string | undefined;
  readonly danger?: boolean;
  /** Puts the detail at the end of the line instead of under it. */
  readonly flat?: boolean;
  readonly children: string;
}

/** One entry of a menu. */
export function MenuItem({
  icon,
  detail,
  shortcut,
  danger,
  flat,
  children,
  ...rest
}: MenuItemProps): ReactElement {
  return (
    <AriaMenuItem {...rest} textValue={children} className={cx(styles.item, danger && styles.danger)}>
      <span className={styles.icon}>{icon}</span>
      <span className={cx(styles.texts, flat && styles.flat)}>
        <Text slot="label">{children}</Text>
        {detail === undefined ? null : (
          <Text slot="description" className={styles.detail ?? ''}>
            {detail}
          </Text>
        )}
      </span>
      {shortcut === undefined ? null : <kbd className={styles.shortcut}>{shortcut}</kbd>}
    </AriaMenuItem>
  );
}
