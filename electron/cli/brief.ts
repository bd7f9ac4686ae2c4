// SPDX-License-Identifier: Apache-2.0
import { connect } from '../contract/connect.ts';
import { TapyardError } from '../contract/error.ts';
import type { Server } from '../contract/server.ts';
import type { CommandRun } from '../core/core.ts';
import { localChannel } from '../core/host/election.ts';
import { parse } from './parse.ts';
import { perform } from './perform.ts';

/** Put in its place by the build (scripts/lib/build-id.mjs): a hash of the sources. */
declare const TAPYARD_BUILD: string | undefined;

/** Which build this is. Sources that run as they are fit only themselves. */
export const ownBuild = typeof TAPYARD_BUILD === 'undefined' ? 'sources' : TAPYARD_BUILD;

const helloDeadline = 5000;

/**
 * Runs brief commands in the core's process, as the command would from its own: through a connection of the same
 * role, by the same table of words. What the front was asked is refused, with nothing done, where it is another
 * build's (CONTRACT_MISMATCH) or no brief command (USAGE).
 */
export function briefCommands(build: string = ownBuild): CommandRun {
  return async (server, input, signal) => {
    if (input.build !== build) {
      throw new TapyardError('CONTRACT_MISMATCH', 'This command is of another build than the core.');
    }
    const parsed = parse(input.words);
    if (parsed.kind === 'run' && parsed.command.brief !== true) {
      throw new TapyardError('USAGE', `“${parsed.command.name}” is not a brief command.`, {
        subject: parsed.command.name,
      });
    }
    const written = { out: '', err: '' };
    const status = await perform(parsed, {
      terminal: {
        out: (text) => void (written.out += text),
        err: (text) => void (written.err += text),
        interactive: false,
        columns: 80,
      },
      cwd: () => input.cwd,
      core: (run) => withOwn(server, signal, run),
    });
    return { status, ...written };
  };
}

/** Runs `run` with a connection to the core of this process, which goes when the caller does. */
async function withOwn<Result>(
  server: Server,
  signal: Parameters<CommandRun>[2],
  run: (connection: Awaited<ReturnType<typeof connect>>, hosted: boolean) => Promise<Result>,
): Promise<Result> {
  const connection = await connect(localChannel(server, 'user'), { role: 'cli', deadlineMs: helloDeadline });
  const close = (): void => connection.close();
  signal.addEventListener('abort', close);
  if (signal.aborted) close();
  try {
    return await run(connection, false);
  } finally {
    signal.removeEventListener('abort', close);
    connection.close();
  }
}
