// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../electron/contract/error.ts';
import { hostScopeDenied, pkexecRefusal } from '../../../electron/core/net/host-scope.ts';

/* Who is denied something learns which rule denied it, and what to do now. */

const native = join(import.meta.dirname, '../../../native');
const sources = ['netd/src', 'tap/src'].flatMap((dir) =>
  readdirSync(join(native, dir), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.rs'))
    .map((name) => readFileSync(join(native, dir, name), 'utf8').split('#[cfg(test)]')[0] ?? ''),
);

/** Each denial of netd and tap by its name there, and a word of the rule that the source must say with it. */
const denials: readonly (readonly [string, RegExp])[] = [
  ['NoPrivilege', /CAP_NET_ADMIN/],
  ['NamespaceDenied', /sysctl|sandbox/],
  ['UnsafePath', /root can write/],
  ['TunUnreadable', /chmod 0666 \/dev\/net\/tun/],
  ['BridgeNotAllowed', /allow-bridge/],
  ['WifiCannotBridge', /nat or routed/],
  ['PortDenied', /ip_unprivileged_port_start/],
];

describe('a denial', () => {
  it.each(denials)('%s of the native programs names its rule and the fix', (code, rule) => {
    const uses = sources.flatMap((source) =>
      [...source.matchAll(new RegExp(`Code::${code},`, 'g'))].map(({ index }) =>
        source.slice(index, index + 1500),
      ),
    );
    expect(uses.length).toBeGreaterThan(0);
    for (const use of uses) expect(use).toMatch(/hint|Use mode/);
    expect(uses.some((use) => rule.test(use))).toBe(true);
  });

  it.each<[ErrorCode, ReturnType<typeof pkexecRefusal>, RegExp, RegExp]>([
    ['HOST_SCOPE_DISMISSED', pkexecRefusal(126, ''), /question .* closed/, /Try again/],
    ['HOST_SCOPE_DENIED', pkexecRefusal(127, 'Not authorized'), /polkit.*dev\.tapyard/, /administrator/],
    ['HOST_SCOPE_DENIED', pkexecRefusal(127, 'no agent'), /no polkit agent/, /sudo/],
    ['HOST_SCOPE_DENIED', hostScopeDenied('/run/netd'), /CAP_NET_ADMIN/, /sudo setcap/],
  ])('%s of the host scope says who denied it and what to do', (code, error, rule, fix) => {
    expect(error).toMatchObject({ code, message: expect.stringMatching(rule) });
    expect(error?.hint).toMatch(fix);
  });
});
