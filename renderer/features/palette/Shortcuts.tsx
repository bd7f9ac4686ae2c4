// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { allCommands, type Command } from '../../commands/command.ts';
import { commandState } from '../../commands/run.ts';
import { Dialog } from '../../lib/Dialog.tsx';
import { useUi } from '../../store/ui.ts';
import { releaseChord } from '../consoles/release-chord.ts';
import styles from './Shortcuts.module.css';

/** Keys that no command of the table has. */
const consoleKeys = [
  [releaseChord, 'Give the keyboard back to the window'],
  ['Ctrl+Shift+C', 'Copy what is selected'],
  ['Ctrl+Shift+V', 'Paste'],
  ['Ctrl+Shift+F', 'Find'],
] as const;

/** All shortcuts, from the table of commands. */
export default function Shortcuts(): ReactElement {
  const state = commandState();
  const groups = new Map<string, Command[]>();
  for (const command of allCommands()) {
    if (command.shortcut === undefined) continue;
    groups.set(command.group, [...(groups.get(command.group) ?? []), command]);
  }
  return (
    <Dialog
      title="Keyboard shortcuts"
      open
      width="wide"
      onClose={() => useUi.getState().openDialog('shortcuts', false)}
    >
      <div className={styles.groups}>
        {[...groups].map(([group, commands]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {commands.map((command) => (
                <div key={command.id}>
                  <dt>{command.label(state, command.on === null ? null : state.ui.selection)}</dt>
                  <dd>
                    <kbd>{command.shortcut}</kbd>
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>In a console</h3>
          <p>Every other key goes to the guest.</p>
          <dl>
            {consoleKeys.map(([keys, what]) => (
              <div key={keys}>
                <dt>{what}</dt>
                <dd>
                  <kbd>{keys}</kbd>
                </dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
    </Dialog>
  );
}
