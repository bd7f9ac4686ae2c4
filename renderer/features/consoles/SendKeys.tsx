// SPDX-License-Identifier: Apache-2.0
import type RFB from '@novnc/novnc';
import { Keyboard } from 'lucide-react';
import type { ReactElement, RefObject } from 'react';
import { MenuButton } from '../../lib/MenuButton.tsx';
import { later } from '../../lib/later.tsx';

const SendKeysMenu = later(() => import('./SendKeysMenu.tsx'));

interface SendKeysProps {
  readonly rfb: RefObject<RFB | null>;
  readonly name: string;
}

/** Keys that the window's own computer keeps for itself. */
export function SendKeys({ rfb, name }: SendKeysProps): ReactElement {
  return (
    <MenuButton
      variant="ghost"
      size="small"
      tip="Send keys that this computer keeps for itself"
      renderMenu={(place) => <SendKeysMenu {...place} rfb={rfb} name={name} />}
    >
      <Keyboard aria-hidden /> Send keys
    </MenuButton>
  );
}
