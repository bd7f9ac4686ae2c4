// SPDX-License-Identifier: Apache-2.0
import { useRef, useState, type ReactElement, type RefObject } from 'react';
import { Boundary } from './Boundary.tsx';
import { Button, type ButtonProps } from './Button.tsx';

/** Where a menu opens, which entry has the keyboard then (`true`: none yet), and how it closes. */
export interface MenuPlace {
  readonly anchor: RefObject<HTMLElement | null>;
  readonly focus: 'first' | 'last' | true;
  readonly onClose: () => void;
}

interface MenuButtonProps extends Omit<ButtonProps, 'onPress' | 'onPressStart' | 'onKeyDown' | 'ref'> {
  /** The menu, of which nothing is needed before it opens: its code can come `later`. */
  readonly renderMenu: (place: MenuPlace) => ReactElement;
}

/** A button that opens a menu: on the mouse's way down, by Enter and Space, by the arrow keys. */
export function MenuButton({ renderMenu, ...button }: MenuButtonProps): ReactElement {
  const anchor = useRef<HTMLButtonElement>(null);
  const [focus, setFocus] = useState<MenuPlace['focus'] | null>(null);
  const close = (): void => setFocus(null);
  return (
    <>
      <Button
        {...button}
        ref={anchor}
        aria-haspopup="menu"
        aria-expanded={focus !== null}
        onPressStart={({ pointerType }) => {
          if (pointerType !== 'mouse') return;
          anchor.current?.focus(); // where the keyboard comes back to when the menu closes
          setFocus(true);
        }}
        onPress={({ pointerType }) => {
          if (pointerType !== 'mouse') setFocus('first');
        }}
        onKeyDown={({ key }) => {
          if (key === 'ArrowDown') setFocus('first');
          if (key === 'ArrowUp') setFocus('last');
        }}
      />
      {focus === null ? null : (
        <Boundary onDismiss={close}>
          {/* oxlint-disable-next-line react/refs -- handed on, and read only when the menu has been drawn */}
          {renderMenu({ anchor, focus, onClose: close })}
        </Boundary>
      )}
    </>
  );
}
