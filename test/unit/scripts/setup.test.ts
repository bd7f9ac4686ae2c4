// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { digest } from '../../../scripts/lib/inputs.mjs';
import { run } from '../../../scripts/lib/run.mjs';
import { duration, hintFor, lastLines } from '../../../scripts/lib/step.mjs';
import { npmDifference } from '../../../scripts/setup/steps.mjs';

describe('npmDifference', () => {
  const wanted = {
    packages: {
      '': { version: '0.1.0' },
      'node_modules/a': { version: '1.0.0' },
      'node_modules/b-darwin': { version: '2.0.0', optional: true },
    },
  };

  it('finds none when only an optional package is missing', () => {
    expect(npmDifference(wanted, { packages: { 'node_modules/a': { version: '1.0.0' } } })).toBeUndefined();
  });

  it.each([
    [{ packages: { 'node_modules/a': { version: '1.0.1' } } }, 'node_modules/a is 1.0.1, wanted 1.0.0'],
    [{ packages: {} }, 'node_modules/a is missing'],
    [
      { packages: { 'node_modules/a': { version: '1.0.0' }, 'node_modules/c': { version: '3.0.0' } } },
      'node_modules/c is no longer wanted',
    ],
    [undefined, 'node_modules is missing'],
  ])('says in what %j differs', (installed, difference) => {
    expect(npmDifference(wanted, installed)).toBe(difference);
  });

  it('says when there is no lock file', () => {
    expect(npmDifference(undefined, { packages: {} })).toMatch('package-lock.json');
  });
});

describe('digest', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'tapyard inputs '));
    mkdirSync(join(root, 'src/node_modules'), { recursive: true });
    writeFileSync(join(root, 'src/a.ts'), 'a');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('stays with a new time, and with files that are no sources', () => {
    const before = digest(root, ['src', 'absent']);
    utimesSync(join(root, 'src/a.ts'), 1, 1);
    writeFileSync(join(root, 'src/node_modules/x.js'), '');
    expect(digest(root, ['src', 'absent'])).toBe(before);
  });

  it('changes with a content, a name, and where one file ends and the next begins', () => {
    const seen = new Set([digest(root, ['src'])]);
    writeFileSync(join(root, 'src/a.ts'), 'b');
    seen.add(digest(root, ['src']));
    writeFileSync(join(root, 'src/b.ts'), '');
    seen.add(digest(root, ['src']));
    rmSync(join(root, 'src/a.ts'));
    writeFileSync(join(root, 'src/b.ts'), 'b');
    seen.add(digest(root, ['src']));
    expect(seen.size).toBe(4);
  });
});

/** The state of a process (proc(5)); a zombie, Z, has ended and only waits for its parent to hear of it. */
function stateOf(pid: number): string {
  try {
    return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? 'gone';
  } catch {
    return 'gone';
  }
}

describe('run', () => {
  it('gives output and code', async () => {
    expect(await run('sh', ['-c', 'echo out; echo err >&2; exit 3'], { deadline: 5000 })).toMatchObject({
      code: 3,
      output: expect.stringContaining('out'),
      late: false,
    });
  });

  it('says 127 for a program that is missing', async () => {
    expect((await run('tapyard-no-such-program', [], { deadline: 5000 })).code).toBe(127);
  });

  it('ends the whole group at the deadline', async () => {
    const { late, output } = await run('sh', ['-c', 'sleep 60 & echo $!; sleep 60'], { deadline: 300 });
    expect(late).toBe(true);
    const pid = Number(output);
    await expect.poll(() => stateOf(pid)).toMatch(/^(gone|Z)$/);
  });

  it('does not wait for a grandchild that keeps the pipe', async () => {
    const script = 'setsid sh -c "echo $\\$; sleep 20" & sleep 0.5; echo done';
    const began = performance.now();
    const { output } = await run('sh', ['-c', script], { deadline: 15_000 });
    expect(output).toContain('done');
    expect(performance.now() - began).toBeLessThan(10_000);
    process.kill(Number(/^\d+$/m.exec(output)?.[0]), 'SIGKILL');
  });
});

describe('words', () => {
  it('writes durations', () => {
    expect([40, 9949, 9950, 119_400, 125_000].map(duration)).toEqual([
      '0.0 s',
      '9.9 s',
      '10 s',
      '119 s',
      '2 min 5 s',
    ]);
  });

  it('knows a missing network and a foreign checkout by the programs’ words', () => {
    expect(hintFor('npm error code EAI_AGAIN')).toMatch('network');
    expect(hintFor('Temporary failure resolving deb.debian.org')).toMatch('network');
    expect(hintFor("EACCES: permission denied, mkdir 'node_modules'")).toMatch('somebody else');
    expect(hintFor('error[E0308]: mismatched types')).toBeUndefined();
    expect(hintFor('ERROR: Could not resolve "../core.ts"')).toBeUndefined();
  });

  it('keeps the last lines', () => {
    expect(lastLines('1\n2\n3\n\n', 2)).toBe('2\n3');
  });
});

describe('the command', () => {
  it('refuses an unknown purpose with its usage', async () => {
    const { code, output } = await run(process.execPath, ['scripts/setup.mjs', '--for', 'fun'], {
      deadline: 10_000,
    });
    expect(code).toBe(2);
    expect(output).toMatch('--for takes start, test, bench');
  });

  it('changes nothing with --dry-run', async () => {
    const { code, output } = await run(process.execPath, ['scripts/setup.mjs', '--dry-run'], {
      deadline: 10_000,
    });
    expect(code).toBe(0);
    expect(output).toMatch(/set-up +nothing was changed/);
  });
});
