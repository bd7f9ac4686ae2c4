// SPDX-License-Identifier: Apache-2.0
import { dialog, shell } from 'electron';

let asking = false;

/**
 * Offers to open an address in the user's browser. Only https, one at a time, and the question is this program's
 * own: the address can be a guest's words, and the page that passes them on is not believed either.
 */
export async function offerLink(address: string): Promise<void> {
  if (asking || !URL.canParse(address)) return;
  const url = new URL(address);
  if (url.protocol !== 'https:') return;
  asking = true;
  try {
    const { response } = await dialog.showMessageBox({
      type: 'question',
      message: 'Open an address that a guest wrote?',
      detail: url.href,
      buttons: ['Cancel', 'Open it'],
      defaultId: 0,
      cancelId: 0,
    });
    if (response === 1) await shell.openExternal(url.href);
  } catch (thrown) {
    console.error(`${url.href} cannot be opened:`, thrown);
  } finally {
    asking = false;
  }
}
