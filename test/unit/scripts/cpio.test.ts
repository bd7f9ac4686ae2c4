// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

import { newc } from '../../../assets/micro/cpio.mjs';

describe('newc', () => {
  const archive = newc([
    { path: 'bin', mode: 0o040755 },
    { path: 'bin/tool', mode: 0o100755, data: Buffer.from('hello') },
    { path: 'bin/link', mode: 0o120777, data: Buffer.from('tool') },
    { path: 'null', mode: 0o020666, device: [1, 3] },
  ]);

  it('is read by busybox cpio as it was meant', () => {
    const list = execFileSync('busybox', ['cpio', '-tv'], {
      input: archive,
      encoding: 'utf8',
      stdio: 'pipe',
    });
    const lines = list.split('\n').map((line) => line.split(/\s+/));
    expect(lines.slice(0, 4).map((words) => [words[0], words.at(-1)])).toEqual([
      ['drwxr-xr-x', 'bin'],
      ['-rwxr-xr-x', 'bin/tool'],
      ['lrwxrwxrwx', 'tool'],
      ['crw-rw-rw-', 'null'],
    ]);
    expect(
      execFileSync('busybox', ['cpio', '-i', '--to-stdout', 'bin/tool'], {
        input: archive,
        encoding: 'utf8',
      }),
    ).toBe('hello');
  });

  it('ends every record on a multiple of four', () => {
    expect(archive.length % 4).toBe(0);
    expect(archive.includes('TRAILER!!!')).toBe(true);
  });
});
