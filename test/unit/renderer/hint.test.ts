// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { hostScopeDenied } from '../../../electron/core/net/host-scope.ts';
import { hintParts } from '../../../renderer/lib/hint.ts';

test('an advice of one line is a sentence, whatever it ends with', () => {
  const text = 'Until the next boot: sudo chmod 0666 /dev/net/tun';
  expect(hintParts(text)).toEqual([{ kind: 'text', text }]);
});

test('the commands of a denial are apart from its sentences, and none is lost', () => {
  const ground = {
    root: false,
    isProgram: () => false,
    exists: () => false,
    find: () => undefined,
    own: () => '/opt/netd',
    ownPolicy: () => '/opt/policy',
  };
  const { hint = '' } = hostScopeDenied('/run/user/1000/tapyard/netd-host', undefined, ground);
  const parts = hintParts(hint);
  expect(parts.map(({ text }) => text).join('\n')).toBe(hint);
  expect(parts.map(({ kind }) => kind)).toEqual(['text', 'commands', 'text', 'commands', 'text', 'commands']);
  for (const { kind, text } of parts) {
    for (const line of text.split('\n')) expect(/^(sudo|mkdir) /.test(line), line).toBe(kind === 'commands');
  }
});
