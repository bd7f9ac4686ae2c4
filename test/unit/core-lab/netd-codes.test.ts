// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ErrorData, errorCodes, TapyardError } from '../../../electron/contract/error.ts';

const checkout = join(import.meta.dirname, '../../..');

/** Codes of a netd that does not start; the core tells them in words that users meet elsewhere too. */
const translated = new Set([
  'BAD_DIRECTORY',
  'PATH_TOO_LONG',
  'ALREADY_RUNNING',
  'NO_PRIVILEGE',
  'NAMESPACE_DENIED',
  'ANCHOR_FAILED',
]);

it('every code of netd is one of the contract, or is translated when netd starts', () => {
  const source = readFileSync(join(checkout, 'native/protocol/src/error.rs'), 'utf8');
  const body = /pub enum Code \{([^}]+)\}/.exec(source)?.[1] ?? '';
  const codes = [...body.matchAll(/^\s*([A-Z][A-Za-z0-9]+),$/gm)].map(([, name = '']) =>
    name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toUpperCase(),
  );
  expect(codes).toContain('NIC_IN_USE');
  const known: ReadonlySet<string> = new Set(errorCodes);
  expect(codes.filter((code) => !known.has(code) && !translated.has(code))).toEqual([]);
  const page = readFileSync(join(checkout, 'docs/netd-protocol.md'), 'utf8');
  expect(codes.filter((code) => !page.includes(code))).toEqual([]);
});

it('an error with endless words still fits its own schema', () => {
  const long = 'x'.repeat(20_000);
  const data = new TapyardError('QEMU_FAILED', long, { hint: long, subject: long }).toData();
  expect(ErrorData.safeParse(data).success).toBe(true);
});
