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

/** A file, a setting or a command: what somebody can look at or type. */
const concrete =
  /\/(etc|dev|usr|run)\/|tapyard (ls|up|check|scope|forward|force-off|topology|serve|console)|sudo |namei |ls -l|chmod |ip (-|route|link)|ss -|sysctl|net\.ipv4|mode: |mkdir /;

/** Codes that tell no refusal: something is missing, broken, busy, or asked wrongly. A new code is one or the other. */
const others: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(['LAB_FILE_MISSING', 'LAB_FILE_INVALID', 'LAB_FILE_CHANGED', 'NO_SUCH_LAB', 'LAB_AMBIGUOUS'] as const),
  ...(['LAB_BUSY', 'LAB_NOT_UP', 'LAB_NAME_TAKEN', 'LAB_UP_IN_OTHER_SCOPE', 'NETWORK_NAME_TAKEN'] as const),
  ...(['NETWORK_IN_USE', 'NO_SUCH_GUEST', 'NO_SUCH_FORWARD', 'NO_SUCH_NIC', 'NO_SUCH_IMAGE'] as const),
  ...(['IMAGE_MISSING', 'IMAGE_UNSUPPORTED', 'GUEST_STATE', 'GUEST_NAME_TAKEN', 'NO_FREE_PORT'] as const),
  ...(['NIC_NOT_RELEASED', 'QEMU_MISSING', 'QEMU_FAILED', 'QEMU_IMG_FAILED', 'QMP_FAILED'] as const),
  ...([
    'DISK_FULL',
    'CONSOLE_CLOSED',
    'SSH_MISSING',
    'RUNTIME_PATH_TOO_LONG',
    'RUNTIME_DIR_MISSING',
  ] as const),
  ...(['STATE_FILE_INVALID', 'CORE_UNREACHABLE', 'CONTRACT_MISMATCH', 'RENDERER_MISSING'] as const),
  ...([
    'SERVE_FAILED',
    'BAD_MESSAGE',
    'BAD_ARGS',
    'TOO_LARGE',
    'HELLO_FIRST',
    'BUSY',
    'NO_SUCH_VERB',
  ] as const),
  ...([
    'PROTOCOL_MISMATCH',
    'NO_NAT_SWITCH',
    'DNSMASQ_MISSING',
    'DNSMASQ_FAILED',
    'NO_SUCH_NETWORK',
  ] as const),
  ...(['TUN_MISSING', 'VHOST_MISSING', 'BRIDGE_FULL', 'GUEST_UNREACHABLE', 'NO_SUCH_ADDRESS'] as const),
  ...(['PASTA_MISSING', 'PASTA_FAILED', 'NO_DEFAULT_ROUTE', 'NETD_MISSING', 'NETD_FAILED'] as const),
  ...(['JOURNAL_FAILED', 'KERNEL', 'UNREACHABLE', 'TIMED_OUT', 'USAGE', 'NO_SUCH_CALL', 'ABORTED'] as const),
  ...(['DEADLINE', 'INTERNAL', 'NETEM_MISSING', 'SHAPER_MISSING'] as const),
]);

describe('every code', () => {
  it('tells a refusal, whose rule and fix are known, or another kind of failure', () => {
    const sorted = errorCodes.map((code) => [code, refusalOf(code) !== undefined, others.has(code)] as const);
    expect(sorted.filter(([, refusal, other]) => refusal === other)).toEqual([]);
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
