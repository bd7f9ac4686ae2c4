// SPDX-License-Identifier: Apache-2.0
import type RFB from '@novnc/novnc';
import type { ReactElement, RefObject } from 'react';
import { Menu, MenuItem } from '../../lib/Menu.tsx';
import type { MenuPlace } from '../../lib/MenuButton.tsx';

// X11 keysyms (keysymdef.h) and the codes of UI Events, which QEMU takes as scancodes where it can.
const control = { keysym: 0xffe3, code: 'ControlLeft' };
const alt = { keysym: 0xffe9, code: 'AltLeft' };
const functionKey = (number: number): { keysym: number; code: string } => ({
  keysym: 0xffbd + number,
  code: `F${number}`,
});

interface SendKeysMenuProps extends MenuPlace {
  readonly rfb: RefObject<RFB | null>;
  readonly name: string;
}

/** The keys that can be sent. */
export default function SendKeysMenu({ rfb, name, ...place }: SendKeysMenuProps): ReactElement {
  const chord = (number: number): void => {
    const keys = [control, alt, functionKey(number)];
    for (const { keysym, code } of keys) rfb.current?.sendKey(keysym, code, true);
    for (const { keysym, code } of keys.toReversed()) rfb.current?.sendKey(keysym, code, false);
    rfb.current?.focus();
  };
  return (
    <Menu {...place} label={`Send keys to ${name}`} placement="bottom end">
      <MenuItem
        id="cad"
        onAction={() => {
          rfb.current?.sendCtrlAltDel();
          rfb.current?.focus();
        }}
      >
        Ctrl+Alt+Del
      </MenuItem>
      {[1, 2, 3, 7].map((number) => (
        <MenuItem key={number} id={`f${number}`} onAction={() => chord(number)}>
          {`Ctrl+Alt+F${number}`}
        </MenuItem>
      ))}
    </Menu>
  );
}
