// SPDX-License-Identifier: Apache-2.0
import type RFB from '@novnc/novnc';
import { Keyboard } from 'lucide-react';
import type { ReactElement, RefObject } from 'react';
import { Button } from '../../lib/Button.tsx';
import { Menu, MenuItem } from '../../lib/Menu.tsx';

// X11 keysyms (keysymdef.h) and the codes of UI Events, which QEMU takes as scancodes where it can.
const control = { keysym: 0xffe3, code: 'ControlLeft' };
const alt = { keysym: 0xffe9, code: 'AltLeft' };
const functionKey = (number: number): { keysym: number; code: string } => ({
  keysym: 0xffbd + number,
  code: `F${number}`,
});

/** Keys that the window's own computer keeps for itself. */
export function SendKeys({
  rfb,
  name,
}: {
  readonly rfb: RefObject<RFB | null>;
  readonly name: string;
}): ReactElement {
  const chord = (number: number): void => {
    const keys = [control, alt, functionKey(number)];
    for (const { keysym, code } of keys) rfb.current?.sendKey(keysym, code, true);
    for (const { keysym, code } of keys.toReversed()) rfb.current?.sendKey(keysym, code, false);
    rfb.current?.focus();
  };
  return (
    <Menu
      label={`Send keys to ${name}`}
      placement="bottom end"
      trigger={
        <Button variant="ghost" size="small" tip="Send keys that this computer keeps for itself">
          <Keyboard aria-hidden /> Send keys
        </Button>
      }
    >
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
