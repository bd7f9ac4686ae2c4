// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { lastLine } from '../../../electron/core/console/tail.ts';

const tail = (text: string): string => lastLine(Buffer.from(text));

it.each([
  ['boot\r\nlogin: ', 'login:'],
  ['one\r\n\r\n  \r\n', 'one'],
  ['\u001b[1;32mroot@guest\u001b[0m:~# \u001b[6n', 'root@guest:~#'],
  ['\u001b]0;a title\u0007prompt$ ', 'prompt$'],
  ['\u001b]8;;http://evil\u001b\\link\u001b]8;;\u001b\\', 'link'],
  ['10 %\r20 %\r100 %', '100 %'],
  ['long progress\rshort\u001b[K', 'short'],
  ['lsx\b \b', 'ls'],
  ['a\tb', 'a b'],
  ['ok\u001b[', 'ok'],
  ['ok\u001b]0;cut off', 'ok'],
  ['safe\u202egnp.exe', 'safegnp.exe'],
  ['\u009b31mred', '31mred'],
  ['', ''],
])('%j shows %j', (text, shown) => {
  expect(tail(text)).toBe(shown);
});

it('survives a character that is cut in two at the front', () => {
  expect(lastLine(Buffer.from('é ok').subarray(1))).toMatch(/ok$/);
});

it('is short and has no control character, whatever the guest sends', () => {
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .constantFrom('\u001b[', '\u001b]', '\u0007', '\r', '\n', '\b', '\u202e', 'x'.repeat(300))
      .map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      const line = lastLine(Buffer.concat(parts));
      expect(Array.from(line).length).toBeLessThanOrEqual(200);
      expect(line).not.toMatch(/\p{C}/u);
    }),
    { numRuns: 500 },
  );
});

it('is quick with the worst input', () => {
  const startedAt = performance.now();
  for (const text of ['\u001b]', '\u001b[', '\u001b', '\b', '\r', '\u001b[0']) tail(text.repeat(100_000));
  expect(performance.now() - startedAt).toBeLessThan(1000);
});
