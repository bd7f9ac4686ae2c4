// SPDX-License-Identifier: Apache-2.0
import type { Page } from 'playwright-core';
import type { Scope } from '../../electron/contract/names.ts';

/** Presses the scope button of the lab `seed` and answers what is asked then, which says this of the move. */
export async function askToMove(page: Page, scope: Scope, meaning: string): Promise<() => Promise<void>> {
  await page.getByRole('button', { name: `Move seed to the ${scope} scope` }).click();
  const question = page.getByRole('alertdialog', { name: `Move seed to the ${scope} scope?` });
  await question.getByText(meaning).waitFor();
  return () => question.getByRole('button', { name: `Move to the ${scope} scope` }).click();
}

/** Until the lab `seed` is up in that scope, with its bridge of this address on the map. */
export async function movedTo(page: Page, scope: Scope, bridge: string, patience: number): Promise<void> {
  const other = scope === 'host' ? 'private' : 'host';
  await page.getByRole('button', { name: `Move seed to the ${other} scope` }).waitFor({ timeout: patience });
  await page.getByRole('button', { name: 'Map', exact: true }).click();
  await page
    .getByRole('group', { name: new RegExp(`^Bridge br0, ${bridge.replaceAll('.', '\\.')}`) })
    .waitFor({
      timeout: patience,
    });
}
