// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { briefCommands } from '../../../electron/cli/brief.ts';
import { commands } from '../../../electron/cli/commands.ts';
import type { Connection } from '../../../electron/contract/client.ts';
import { connect } from '../../../electron/contract/connect.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { Server } from '../../../electron/contract/server.ts';
import type { Role } from '../../../electron/contract/wire.ts';
import { localChannel } from '../../../electron/core/host/election.ts';
import { FakeCore } from '../../fakes/fake-core.ts';
import { seedLab } from '../../fakes/labs.ts';
import { labRow } from '../../fakes/rows.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-brief-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A fake core that does brief commands, as one that its host gave them to. */
function withCommands(core: FakeCore, more: Partial<Server> = {}): Server {
  const command = briefCommands('this build');
  const server: Server = {
    ...core.server,
    ...more,
    command: { run: (input, { signal }) => command(server, input, signal) },
  };
  return server;
}

const joined = (server: Server, role: Role = 'cli'): Promise<Connection> =>
  connect(localChannel(server, role === 'browser' ? 'anyone' : 'user'), { role, deadlineMs: 1000 });

const quick = { guestMs: 5, natMs: 5 };

describe('a command in the core’s process', () => {
  it('writes what the command writes, and ends with its status', async () => {
    const { client } = await joined(withCommands(new FakeCore(seedLab(), quick)));
    const run = (...words: string[]) => client.command.run({ build: 'this build', words, cwd: dir });
    expect(await run('shutdown', 'guest')).toEqual({ status: 0, out: 'guest is shut off.\n', err: '' });
    expect(await run('start', 'nobody')).toMatchObject({
      status: 1,
      out: '',
      err: expect.stringContaining('[NO_SUCH_GUEST]'),
    });
    const json = await run('nat', 'br0', 'off', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ lab: 'seed', nat: false });
    expect(await run('strat', 'guest')).toMatchObject({
      status: 2,
      err: expect.stringContaining('perhaps you mean start'),
    });
    expect(await run('up', '--help')).toMatchObject({ status: 0, out: expect.stringContaining('SYNOPSIS') });
  });

  it('is about the lab of the caller’s directory', async () => {
    const file = join(dir, 'tapyard.yaml');
    const rows = seedLab();
    const core = new FakeCore({ ...rows, labs: [labRow('other'), labRow('seed', { file })] }, quick);
    const { client } = await joined(withCommands(core));
    const run = () =>
      client.command.run({ build: 'this build', words: ['nat', 'br0', 'off', '--json'], cwd: dir });
    expect(JSON.parse((await run()).out)).toMatchObject({ error: { code: 'LAB_AMBIGUOUS' } });
    writeFileSync(file, 'name: seed\n');
    expect(JSON.parse((await run()).out)).toMatchObject({ lab: 'seed', nat: false });
  });

  it('is refused, with nothing done, where it is not brief or of another build', async () => {
    const core = new FakeCore(seedLab(), quick);
    const { client } = await joined(withCommands(core));
    const long = commands.filter((command) => command.brief !== true);
    expect(long.map((command) => command.name)).toContain('up');
    for (const { name, arguments: needed, choices } of long) {
      const given = needed
        .filter((each) => !each.startsWith('['))
        .map((each) => choices?.[each]?.[0] ?? 'guest');
      await expect(
        client.command.run({ build: 'this build', words: [name, ...given], cwd: dir }),
      ).rejects.toMatchObject({ code: 'USAGE', subject: name });
    }
    await expect(client.command.run({ build: 'this build', words: [], cwd: dir })).rejects.toMatchObject({
      code: 'USAGE',
    });
    await expect(
      client.command.run({ build: 'another', words: ['force-off', 'guest'], cwd: dir }),
    ).rejects.toMatchObject({ code: 'CONTRACT_MISMATCH' });
    expect(core.calls).toEqual([]);
  });

  it('is not for a browser', async () => {
    const core = new FakeCore(seedLab(), quick);
    const { client } = await joined(withCommands(core), 'browser');
    await expect(
      client.command.run({ build: 'this build', words: ['force-off', 'guest'], cwd: dir }),
    ).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    expect(core.calls).toEqual([]);
  });

  it('ends when its caller goes, and aborts what it has asked for', async () => {
    const core = new FakeCore(seedLab(), quick);
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const aborted = new Promise<string>((resolve) => {
      const server = withCommands(core, {
        guest: {
          ...core.server.guest,
          start: (_, { signal }) => {
            begin();
            return new Promise((_done, fail) => {
              signal.addEventListener('abort', () => {
                resolve('aborted');
                fail(new TapyardError('ABORTED', 'aborted'));
              });
            });
          },
        },
      });
      void (async () => {
        const connection = await joined(server);
        const running = connection.client.command.run({
          build: 'this build',
          words: ['start', 'guest'],
          cwd: dir,
        });
        running.catch(() => undefined);
        await begun;
        connection.close();
      })();
    });
    expect(await aborted).toBe('aborted');
  });
});
