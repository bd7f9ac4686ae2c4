// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Finding, mendable, ok, warning } from '../../../electron/core/check/check.ts';
import { type AsRoot, byPkexec, mendCheck } from '../../../electron/core/check/mend.ts';
import { contract } from '../../../electron/contract/contract.ts';

const broken = mendable('host-scope', 'It is broken.', 'Mend it:', [
  ['/bin/one', 'a'],
  ['/bin/two', 'b'],
]);

/** A mend of a check that finds these one after the other; what was told and run, in order. */
async function mend(findings: Finding[], run?: AsRoot['run']): Promise<string[]> {
  const told: string[] = [];
  const job = {
    progress: (doing: string, done: number, total: number) => void told.push(`${done}/${total} ${doing}`),
    asks: (text: string) => void told.push(text),
    signal: new AbortController().signal,
  };
  const asRoot: AsRoot = {
    asks: (command) => `may I ${command.join(' ')}?`,
    run: run ?? (async (command) => void told.push(`ran ${command.join(' ')}`)),
  };
  await mendCheck('host-scope', job, asRoot, { look: () => findings.shift() ?? ok('') });
  return told;
}

describe('a mend', () => {
  const runtime = process.env['XDG_RUNTIME_DIR'];
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tapyard-mend-'));
    process.env['XDG_RUNTIME_DIR'] = dir;
  });
  afterEach(() => {
    if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
    else process.env['XDG_RUNTIME_DIR'] = runtime;
    rmSync(dir, { recursive: true });
  });

  it('is one at a time, in the window and in terminals', async () => {
    let answer = (): void => {};
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let begin = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const first = mend([broken, ok('')], () => {
      begin();
      return asked;
    });
    await begun;
    // As docs/on-disk.md has it.
    const { mode, uid } = statSync(join(dir, 'tapyard/mend.lock'));
    expect([mode & 0o7777, uid]).toEqual([0o600, process.getuid?.()]);
    await expect(mend([broken, ok('')])).rejects.toMatchObject({
      code: 'MEND_FAILED',
      message: expect.stringContaining('is being mended'),
      subject: 'host-scope',
    });
    answer();
    await first;
    expect(readdirSync(dir)).toEqual([]);
    expect(await mend([broken, ok('')])).toContain('ran /bin/one a');
  });

  it('runs what the check finds now, says so before, and looks again', async () => {
    expect(await mend([broken, ok('It is fine.')])).toEqual([
      '0/2 running /bin/one a',
      'may I /bin/one a?',
      'ran /bin/one a',
      '1/2 running /bin/two b',
      'may I /bin/two b?',
      'ran /bin/two b',
      '2/2 looking again',
    ]);
    expect(broken.fixes).toEqual([
      { text: 'Mend it:', command: 'sudo /bin/one a\nsudo /bin/two b', mend: 'host-scope' },
    ]);
  });

  it('has nothing to do where all is fine', async () => {
    expect(await mend([ok('It is fine.')])).toEqual([]);
  });

  it('fails where a person has to mend it, where a command fails, and where it did not help', async () => {
    const byHand = warning('It is odd.', { text: 'Look:', command: 'ls' });
    await expect(mend([byHand])).rejects.toMatchObject({
      code: 'MEND_FAILED',
      message: expect.stringContaining('It is odd.'),
      hint: 'Look:\nls',
    });
    await expect(mend([broken, broken])).rejects.toMatchObject({
      code: 'MEND_FAILED',
      message: expect.stringMatching(/All was run, and it still finds: It is broken/),
    });
    const no = mend([broken, ok('')], () => Promise.reject(new Error('no')));
    await expect(no).rejects.toThrow('no');
  });

  it('is asked for by the name of a check, and by nothing else', () => {
    const { in: input } = contract.check.mend;
    expect(input.safeParse({ check: 'host-scope' }).success).toBe(true);
    for (const bad of [{ check: 'tun' }, { check: 'host-scope', command: 'id' }, { check: '' }, {}])
      expect(input.safeParse(bad).success, JSON.stringify(bad)).toBe(false);
  });
});

describe('pkexec', () => {
  const path = process.env['PATH'];
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tapyard-pkexec-'));
    process.env['PATH'] = dir;
  });
  afterEach(() => {
    process.env['PATH'] = path;
    rmSync(dir, { recursive: true });
  });
  const signal = new AbortController().signal;
  const run = (script: string | null, abort: AbortSignal = signal): Promise<void> => {
    if (script !== null) {
      writeFileSync(join(dir, 'pkexec'), `#!/bin/sh\n${script}\n`);
      chmodSync(join(dir, 'pkexec'), 0o755);
    }
    return byPkexec.run(['/usr/sbin/setcap', 'x', '/file'], abort);
  };

  it.each<[string, string | null, string, RegExp]>([
    ['closed', 'exit 126', 'MEND_DISMISSED', /question was closed/],
    ['denied', 'echo "Not authorized" >&2; exit 127', 'MEND_DENIED', /does not allow/],
    [
      'without an agent',
      'echo "No authentication agent found." >&2; exit 127',
      'MEND_DENIED',
      /nobody could/,
    ],
    ['without polkit', 'echo "Error getting authority: x" >&2; exit 127', 'MEND_DENIED', /does not answer/],
    ['not installed', null, 'MEND_DENIED', /not installed/],
    ['a failed command', 'echo "no room" >&2; exit 1', 'MEND_FAILED', /exit status 1: no room/],
    ['killed', 'kill -9 $$', 'MEND_FAILED', /SIGKILL/],
  ])('%s is told apart, with what was not run and what to do', async (_, script, code, says) => {
    const error = run(script);
    await expect(error).rejects.toMatchObject({ code, message: expect.stringMatching(says) });
    await expect(error).rejects.toMatchObject({
      message: expect.stringContaining('/usr/sbin/setcap x /file'),
      hint: expect.stringMatching(/tapyard check/),
    });
  });

  it('is given the program and its arguments as they are, and no terminal to ask on', async () => {
    // Its session is its own (field 6 of /proc/PID/stat is its pid).
    await run(`[ "$*" = "/usr/sbin/setcap x /file" ] && read -r _ _ _ _ _ session _ < /proc/$$/stat &&
      [ "$session" = $$ ] && ! (: < /dev/tty) 2> /dev/null`);
  });

  it('is ended with the job', async () => {
    const abort = new AbortController();
    const ended = run('while :; do read -r _ < /proc/uptime; done', abort.signal);
    abort.abort();
    await expect(ended).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
