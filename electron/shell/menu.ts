// SPDX-License-Identifier: Apache-2.0
import { Menu, type MenuItemConstructorOptions } from 'electron';

/*
 * The page has its own commands and shortcuts. The menu holds what only Electron can do, and registers no key
 * that a console must get (Ctrl+W erases a word in every shell).
 */
const item = (role: NonNullable<MenuItemConstructorOptions['role']>): MenuItemConstructorOptions => ({
  role,
  registerAccelerator: false,
});
const separator: MenuItemConstructorOptions = { type: 'separator' };

/** The menu bar's entries. */
export const menuTemplate: MenuItemConstructorOptions[] = [
  { label: '&File', submenu: [item('close'), separator, item('quit')] },
  {
    label: '&Edit',
    submenu: [
      item('undo'),
      item('redo'),
      separator,
      item('cut'),
      item('copy'),
      item('paste'),
      item('selectAll'),
    ],
  },
  {
    label: '&View',
    submenu: [
      item('reload'),
      item('toggleDevTools'),
      separator,
      item('resetZoom'),
      item('zoomIn'),
      item('zoomOut'),
      separator,
      { role: 'togglefullscreen', accelerator: 'F11' },
    ],
  },
  { label: '&Window', submenu: [item('minimize')] },
];

export function setMenu(): void {
  Menu.setApplicationMenu(Menu.buildFromTemplate(menuTemplate));
}
