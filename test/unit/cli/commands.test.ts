// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it, vi } from 'vitest';
import { commandNamed, type Invocation } from '../../../electron/cli/commands.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import { z } from '../../../electron/contract/zod.ts';
import { FakeCore } from '../../fakes/fake-core.ts';
import { lower, seedLab } from '../../fakes/labs.ts';

/** Runs a command against a fake core over the real wire. */
async function run(
  core: FakeCore,
  name: string,
  words: string[] = [],
  options: Invocation['options'] = {},
): Promise<{ status: number | string; out: string; err: string }> {
  const written = { out: '', err: '' };
  const terminal = {
    out: (text: string) => void (written.out += text),
    err: (text: string) => void (written.err += text),
    interactive: false,
    columns: 80,
  };
  const command = await commandNamed(name)?.load();
  if (command === undefined) throw new Error(`no command ${name}`);
  const connection = await core.connect();
  const invocation: Invocation = {
    command: name,
    arguments: words,
    rest: [],
    options,
    terminal,
    cwd: () => process.cwd(),
    core: (body) => body(connection, false),
  };
  try {
    return { status: await command(invocation), ...written };
  } catch (thrown) {
    return { status: TapyardError.from(thrown).code, ...written };
  } finally {
    connection.close();
  }
}

const quick = { guestMs: 5, natMs: 5 };

afterEach(() => {
  vi.useRealTimers();
});

describe('commands against a core', () => {
  it('list guests for people and for scripts', async () => {
    const core = new FakeCore(seedLab(), quick);
    const people = await run(core, 'ls');
    expect(people.out).toMatch(/^LAB +GUEST +STATE/);
    const scripts = await run(core, 'ls', [], { json: true, lab: 'seed' });
    const [guest] = z.array(z.looseObject({})).parse(JSON.parse(scripts.out));
    expect(Object.keys(guest ?? {})).toEqual([
      'lab',
      'name',
      'state',
      'pid',
      'accelerator',
      'nics',
      'leftNics',
      'sockets',
      'serialRecord',
    ]);
    expect((await run(core, 'ls', [], { lab: 'none' })).status).toBe('NO_SUCH_LAB');
  });

  it('wait until the state is observed', async () => {
    const core = new FakeCore(seedLab(), quick);
    const name = seedLab().guests[0]?.name ?? '';
    expect((await run(core, 'shutdown', [name])).out).toContain('is shut off');
    expect(core.guests.rows()[0]?.state).toBe('shut off');
    expect((await run(core, 'start', [name])).out).toContain('is running');
    expect((await run(core, 'pause', [name])).out).toContain('is paused');
    expect((await run(core, 'resume', [name])).out).toContain('is running');
    expect((await run(core, 'force-off', [name])).out).toContain('is off');
    expect((await run(core, 'start', ['nobody'])).status).toBe('NO_SUCH_GUEST');
  });

  it('flip NAT', async () => {
    const core = new FakeCore(seedLab(), quick);
    const off = await run(core, 'nat', ['br0', 'off'], { json: true });
    expect(JSON.parse(off.out)).toMatchObject({ lab: 'seed', network: 'br0', nat: false, changed: true });
    expect((await run(core, 'nat', ['br0', 'off'])).out).toContain('was off already');
  });

  it('bring a lab up and down, step by step', async () => {
    const core = new FakeCore(lower(seedLab()), quick, seedLab());
    const up = await run(core, 'up', ['seed.yaml'], { json: true });
    expect(up.status).toBe(0);
    expect(JSON.parse(up.out)).toMatchObject({ lab: 'seed', guests: [{ state: 'running' }] });
    const down = await run(core, 'down', [], { lab: 'seed' });
    expect(down).toMatchObject({ status: 0, out: 'Lab seed is down.\n' });
  });

  it('exit 1 where a check failed, and show what mends it', async () => {
    const core = new FakeCore(seedLab(), quick);
    const check = await run(core, 'check');
    expect(check.status).toBe(0);
    expect(check.out).toMatch(/^[✓!✗] /m);
  });

  it('print the recipe and its script', async () => {
    const core = new FakeCore(seedLab(), quick);
    expect((await run(core, 'recipe')).out).toContain('    ip ');
    expect((await run(core, 'recipe', [], { shell: true })).status).toBe(0);
  });
});
