// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { showError } from '../../../electron/cli/terminal.ts';
import { type ErrorCode, errorCodes, TapyardError } from '../../../electron/contract/error.ts';
import { adviceOf, refusalOf } from '../../../electron/contract/refusal.ts';
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
  ['QuotaReached', /administrator adds this line/],
  ['WifiCannotBridge', /ONE_MAC/],
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

/** A file, a setting or a command: what somebody can look at or type. */
const concrete =
  /\/(etc|dev|usr|run)\/|tapyard (ls|up|check|scope|forward|force-off|topology|serve|console)|sudo |namei |ls -l|chmod |ip (-|route|link|neigh)|bridge fdb |ss -|sysctl|net\.ipv4|mode: |mkdir /;

/** Names of codes that sound like a refusal. */
const sounds = /DENIED|ALLOWED|DISMISSED|UNSAFE|UNREADABLE|UNWRITABLE|CANNOT|NEEDS|TAKEN|IN_USE|OVERLAP|SHUT/;
/** Those that are none: the lab itself has the name, the network or the guest. */
const others: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LAB_NAME_TAKEN',
  'NETWORK_NAME_TAKEN',
  'NETWORK_IN_USE',
  'GUEST_NAME_TAKEN',
]);

describe('every code', () => {
  it('that sounds like a refusal has its rule and its fix', () => {
    const heard = errorCodes.filter((code) => sounds.test(code) && !others.has(code));
    expect(heard.length).toBeGreaterThan(15);
    expect(heard.filter((code) => refusalOf(code) === undefined)).toEqual([]);
  });

  it.each(errorCodes.filter((code) => refusalOf(code)))('%s says who says no, and what to type', (code) => {
    const error = new TapyardError(code, 'It is refused.');
    const travelled = TapyardError.fromData({ code, message: 'It is refused.' });
    expect(travelled.hint).toBe(error.hint);
    const [rule = '', fix = ''] = adviceOf(error);
    expect(rule).toMatch(/^.{30,200}\.$/);
    expect(fix).toMatch(concrete);
    // In the command's words, and as a script has it.
    let [out, err] = ['', ''];
    const terminal = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) };
    showError({ ...terminal, interactive: false, columns: 80 }, error, true);
    expect(err).toBe(`tapyard: It is refused. [${code}]\n  ${rule}\n  ${fix}\n`);
    expect(JSON.parse(out)).toMatchObject({ error: { code, hint: fix } });
  });

  it('that a source refuses with its own hint gets one that names a file, a setting or a command', () => {
    const name = (code: string): string =>
      code.toLowerCase().replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
    // What it says is whole within so many characters, or ends with its statement.
    const said = (source: string, at: number): string =>
      source.slice(at, at + 1200).split(/\n\s*\}\n|;\n/)[0] ?? '';
    const electron = join(import.meta.dirname, '../../../electron');
    const texts = readdirSync(electron, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('refusal.ts'))
      .map((file) => readFileSync(join(electron, file), 'utf8'));
    const uses = errorCodes
      .filter((code) => refusalOf(code))
      .flatMap((code) => [
        ...sources.flatMap((source) =>
          [...source.matchAll(new RegExp(`Error::new\\(\\s*Code::${name(code)},`, 'g'))].map(
            ({ index }) => [code, said(source, index)] as const,
          ),
        ),
        ...texts.flatMap((source) =>
          [...source.matchAll(new RegExp(`new TapyardError\\(\\s*'${code}'`, 'g'))].map(
            ({ index }) => [code, said(source, index)] as const,
          ),
        ),
      ]);
    expect(uses.length).toBeGreaterThan(20);
    // Without a hint of its own it gets the code's; a hint that is made elsewhere is looked at there.
    const own = uses.filter(([, text]) => /\.hint\(\s*(?:format!\(\s*)?"|hint: ['`]/.test(text));
    expect(own.length).toBeGreaterThan(10);
    expect(own.filter(([, text]) => !concrete.test(text))).toEqual([]);
  });
});
