// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { type PathStep, rootsProgram, unsafePath } from '../../../electron/core/host/safe-path.ts';

const directory: PathStep = { uid: 0, mode: 0o755, kind: 'directory' };
const file: PathStep = { uid: 0, mode: 0o750, kind: 'file' };
const way = (steps: Readonly<Record<string, Partial<PathStep>>>) =>
  unsafePath('/a/b/c', (path) => ({ ...(path === '/a/b/c' ? file : directory), ...steps[path] }));

describe('a path that others than root can change', () => {
  it.each<[string, Partial<PathStep>, RegExp]>([
    ['/', { mode: 0o777 }, /^\/ can be written by everybody$/],
    ['/a', { uid: 1000 }, /^\/a belongs to somebody else/],
    ['/a/b', { mode: 0o775 }, /^\/a\/b can be written by a group$/],
    ['/a/b', { kind: 'link' }, /^\/a\/b is a symbolic link$/],
    ['/a/b/c', { uid: 1000 }, /^\/a\/b\/c belongs/],
    ['/a/b/c', { mode: 0o1777 }, /everybody/],
    ['/a/b/c', { mode: 0o770 }, /group/],
  ])('%s is named, with why: %o', (path, step, why) => {
    expect(way({ [path]: step })).toMatch(why);
  });

  it('is none where all of the way is root’s, a sticky directory among it', () => {
    expect(way({})).toBeUndefined();
    expect(way({ '/a': { mode: 0o1777 } })).toBeUndefined();
  });

  it('is one that cannot be looked at', () => {
    expect(unsafePath('/nonexistent/tapyard')).toMatch(/^\/nonexistent cannot be looked at/);
  });
});

describe('a program to be run as root', () => {
  it('is one of the system’s, whatever PATH says', () => {
    const before = process.env['PATH'];
    process.env['PATH'] = '/tmp';
    try {
      expect(rootsProgram('chmod')).toMatch(/^\/(usr\/)?s?bin\/chmod$/);
    } finally {
      process.env['PATH'] = before;
    }
    expect(rootsProgram('no-such-program')).toBeUndefined();
  });
});
