// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../electron/contract/error.ts';
import { useCore } from '../store/core.ts';
import { subjectKey, type Subject } from '../store/subject.ts';
import { useTables } from '../store/tables.ts';
import { useUi } from '../store/ui.ts';
import { commandById, type Command, type CommandState } from './command.ts';
import type { Verdict } from './rules.ts';

/** The state that commands decide by, now. */
export function commandState(): CommandState {
  return {
    tables: useTables.getState(),
    ui: useUi.getState(),
    connected: useCore.getState().status === 'ready',
  };
}

/** Whether a command can run on a subject: by its own rule, and by the connection and what is under way. */
export function verdict(command: Command, state: CommandState, subject: Subject | null): Verdict {
  if (command.on && (!subject || !command.on.includes(subject.kind)))
    return `select a ${command.on[0] ?? 'thing'} first`;
  const pending = subject && state.ui.pending.get(subjectKey(subject));
  if (pending?.command === command.id) return pending.word;
  if (!state.connected && (command.needsCore || command.pendingWord !== undefined))
    return 'there is no connection to the core';
  return command.enabledWhen(state, subject);
}

/** Settles when `reached` is true of the tables, or after `ms`. */
function observed(reached: () => boolean, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (reached()) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      stop();
      resolve();
    };
    const timer = setTimeout(done, ms);
    const stop = useTables.subscribe(() => {
      if (reached()) done();
    });
  });
}

/**
 * Runs a command on a subject, after its confirmation where it has one. What it cannot do is announced, what
 * fails is kept as the subject's failure until dismissed or tried again. Never rejects.
 */
export async function runCommand(id: string, subject: Subject | null = null): Promise<void> {
  const command = commandById(id);
  const state = commandState();
  const can = verdict(command, state, subject);
  if (can !== true) {
    state.ui.announce(can);
    return;
  }
  const question = command.confirm?.(state, subject);
  if (question) {
    useUi.setState({ confirm: { ...question, act: () => void perform(command, subject) } });
    return;
  }
  await perform(command, subject);
}

/** Runs a command whose confirmation was given, or that needs none. Never rejects. */
async function perform(command: Command, subject: Subject | null): Promise<void> {
  const { ui } = commandState();
  const key = subject ? subjectKey(subject) : command.id;
  const title = command.label(commandState(), subject);
  ui.setFailure(key, null);
  if (command.pendingWord !== undefined)
    ui.setPending(key, { command: command.id, word: command.pendingWord });
  try {
    const { client } = useCore.getState();
    if (!client) throw new TapyardError('CORE_UNREACHABLE', 'There is no connection to the core yet.');
    await command.run({ ...commandState(), client }, subject);
    if (command.reached) await observed(() => command.reached?.(commandState(), subject) ?? true, 20_000);
  } catch (thrown) {
    const error = TapyardError.from(thrown).toData();
    ui.setFailure(key, { title, error });
    ui.announce(`${title} failed: ${error.message}`);
  } finally {
    if (command.pendingWord !== undefined) ui.setPending(key, null);
  }
}
