// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { readLabFile } from '../../electron/core/lab/definition.ts';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import { br0, HostLab } from '../world/host-lab.ts';
import { kernelState } from '../world/kernel.ts';
import { titlesThatRun } from '../world/titles.ts';
import { checkout, type Finished, firstWords, netdInside, until, World } from '../world/world.ts';

/*
 * What broke in programs like this one, a describe a CVE. Most are tried here against a real netd in the host
 * scope; where another test shows it at length, its name stands here and must be found there. docs/security.md
 * has the same list, with what does not apply and why.
 */

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
/** What listens in host1 before netd is there. */
let listeningBefore: string[];
let dir: string;
let socket: string;
let netdPid: number;

/** A directory of the attacker's. */
let evil: string;
const hostile = (): Record<string, string> => ({
  PATH: evil,
  LD_PRELOAD: `${evil}/evil.so`,
  LD_LIBRARY_PATH: evil,
  IFS: '/',
  LC_ALL: `../../${evil}`,
  BASH_ENV: `${evil}/env`,
});

const Ready = z.looseObject({ ready: z.literal(true), pid: z.number() });
const Reply = z.looseObject({
  ok: z.unknown().optional(),
  error: z.looseObject({ code: z.string() }).optional(),
});
type Reply = z.infer<typeof Reply>;

const request = (verb: string, args: unknown): string => `${JSON.stringify({ id: 1, verb, args })}\n`;
const hello = request('hello', { protocol: 1, client: 'test' });

/** A request of each verb of the protocol, in full: every string that it can have is there. */
const requests = {
  hello: { protocol: 1, client: 'test' },
  apply_network: {
    lab: 'seed',
    network: {
      ...br0,
      mode: 'nat',
      ipv6: 'fd12:3456:789a:1::/64',
      dhcp: {
        from: '192.168.57.128',
        to: '192.168.57.254',
        reservations: [{ mac: '52:54:00:00:00:02', address: '192.168.57.2', guest: 'a' }],
      },
    },
  },
  remove_network: { lab: 'seed', network: 'br0' },
  open_tap: { lab: 'seed', network: 'br0', guest: 'a', nic: 0, mac: '52:54:00:00:00:02', tap: 'tap0' },
  set_nat: { lab: 'seed', network: 'br0', nat: true },
  expose: {
    lab: 'seed',
    exposure: { address: '203.0.113.2', protocol: 'tcp', port: 80, to: '192.168.57.2', to_port: 80 },
  },
  unexpose: { lab: 'seed', address: '203.0.113.2', protocol: 'tcp', port: 80 },
  set_shape: { lab: 'seed', network: 'br0', guest: 'a', nic: 0, shape: { rate: 8000 } },
  dial: { lab: 'seed', address: '192.168.57.2', port: 22 },
  capture: { lab: 'seed', interface: 'br0' },
  observe: {},
  counters: {},
  acts: {},
  shutdown: {},
};

/** The one request that has a string beside those. */
const bridged = {
  lab: 'seed',
  network: {
    name: 'lan',
    mode: 'bridged',
    uplink: 'br-lan',
    mac: br0.mac,
    mtu: 1500,
    nat: false,
    dhcp: null,
    domain: 'lab',
  },
};

/** What the protocol allows in strings of these names; in all others none of the hostile values is. */
const interfaceName = /^(?!all$|default$|lo$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/;
const allowed: Readonly<Record<string, RegExp>> = {
  lab: /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/,
  guest: /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
  network: interfaceName,
  interface: interfaceName,
  name: interfaceName,
  tap: interfaceName,
  uplink: interfaceName,
};

/** The way to each string within a value. */
function stringsOf(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value === 'string') return [[...at]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => stringsOf(inner, [...at, key]));
}

/** The same with another string there. */
function withString(value: unknown, [key, ...rest]: readonly string[], text: string): unknown {
  if (key === undefined) return text;
  if (Array.isArray(value))
    return value.map((inner: unknown, index) =>
      String(index) === key ? withString(inner, rest, text) : inner,
    );
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === key ? withString(inner, rest, text) : inner,
    ]),
  );
}

/** Sends lines; the reply to each. */
async function ask(lines: readonly string[]): Promise<Reply[]> {
  const connection = net.connect(socket);
  const replies: Reply[] = [];
  let text = '';
  let next: (() => void) | undefined;
  connection.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      replies.push(Reply.parse(JSON.parse(text.slice(0, end))));
      text = text.slice(end + 1);
    }
    next?.();
  });
  connection.on('error', () => next?.());
  connection.write([hello, ...lines].join(''));
  while (replies.length <= lines.length && !connection.destroyed)
    await new Promise<void>((resolve) => (next = resolve));
  connection.destroy();
  return replies.slice(1);
}

/** Children of netd: what it runs. */
const children = (): number[] =>
  readFileSync(`/proc/${netdPid}/task/${netdPid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);

/** One test of this title is in that file, and runs whenever the file does. */
function shownBy(file: string, title: string): void {
  test(`shown by ${file}: ${title}`, () => {
    const titles = titlesThatRun(file, readFileSync(path.join(checkout, file), 'utf8'));
    expect(titles.filter((each) => each === title)).toEqual([title]);
  });
}

beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
  listeningBefore = (await world.must(['ss', '-Hlntup'], { as: 'root' })).split('\n').filter(Boolean);
  dir = `${world.runtimeDir('root')}/netd`;
  evil = `${world.dir}/evil`;
  const begin = `mkdir -p -m 700 ${dir} ${evil}
    printf '#!/bin/sh\\ntouch ${evil}/ran\\n' > ${evil}/dnsmasq; chmod 755 ${evil}/dnsmasq; cp ${evil}/dnsmasq ${evil}/ip
    exec /usr/bin/env -i ${Object.entries(hostile())
      .map(([key, value]) => `${key}=${value}`)
      .join(' ')} ${netdInside} --scope host --dir ${dir}`;
  const child = world.start(['/bin/sh', '-c', begin], { as: 'root' });
  const line = await firstWords(child, 'netd');
  netdPid = Ready.parse(JSON.parse(line)).pid;
  socket = `${dir}/netd.sock`;
});
afterAll(() => world?.close());

describe('CVE-2009-3692 VirtualBox: popen with a name of the user', () => {
  test('every byte and every length in each string of each verb goes nowhere', async () => {
    const values = [
      ...Array.from({ length: 256 }, (_, byte) => `a${String.fromCharCode(byte)}`),
      ...Array.from({ length: 65 }, (_, length) => 'a'.repeat(length)),
      '`id`',
      '$(id)',
      ';id',
      '|id',
      '-rf',
    ];
    let fields = 0;
    for (const [verb, args] of [...Object.entries(requests), ['apply_network', bridged] as const]) {
      const strings = stringsOf(args);
      if (strings.length === 0) continue;
      // It is this string that is refused: as it stands the request is a good one.
      const [good] = await ask([request(verb, args)]);
      expect(good?.error?.code, verb).not.toBe('BAD_ARGS');
      for (const at of strings) {
        fields += 1;
        const rule = allowed[at.at(-1) ?? ''];
        const bad = values.filter((value) => rule?.test(value) !== true);
        expect(bad.length, at.join('.')).toBeGreaterThan(100);
        const replies = await ask(bad.map((value) => request(verb, withString(args, at, value))));
        expect(replies).toHaveLength(bad.length);
        const codes = replies.map((reply) => reply.error?.code ?? 'ok');
        expect([...new Set(codes)], `${verb}: ${at.join('.')}`).toEqual(['BAD_ARGS']);
      }
    }
    expect(fields).toBeGreaterThan(30);
    expect(children()).toEqual([]);
    expect(await kernelState(world)).toEqual(before);
  });
  test('what the rules allow names what is not there', async () => {
    const names = ['a', 'A_9', 'a'.repeat(15)];
    const replies = await ask(names.map((network) => request('open_tap', { ...requests.open_tap, network })));
    expect(replies.map((reply) => reply.error?.code)).toEqual(names.map(() => 'NO_SUCH_NETWORK'));
  });
});

describe('CVE-2013-1662 VMware: a program found by the user’s PATH', () => {
  test('a hostile environment runs nothing, and dnsmasq gets none', async () => {
    const client = await NetdClient.connect(socket);
    await client.request('apply_network', { lab: 'seed', network: br0 });
    const [dnsmasq] = children();
    expect(readlinkSync(`/proc/${dnsmasq}/exe`)).toMatch(/^\/usr\/s?bin\/dnsmasq$/);
    expect(readFileSync(`/proc/${dnsmasq}/environ`, 'utf8')).toBe('');
    expect(existsSync(`${evil}/ran`)).toBe(false);
    await client.request('remove_network', { lab: 'seed', network: 'br0' });
    client.close();
  });
});

describe('CVE-2019-13164 qemu-bridge-helper: a name that the kernel cuts off', () => {
  test('a name of 16 and more is refused before anything looks at it', async () => {
    const foreign = 'abcdefghijklmno';
    await world.must(['ip', 'link', 'add', foreign, 'type', 'bridge'], { as: 'root' });
    const there = await kernelState(world);
    const names = ['p', 'pq', 'p'.repeat(240)].map((more) => foreign + more);
    const replies = await ask(
      names.flatMap((name) => [
        request('apply_network', { lab: 'seed', network: { ...br0, name } }),
        request('remove_network', { lab: 'seed', network: name }),
      ]),
    );
    expect(replies.map((reply) => reply.error?.code)).toEqual(names.flatMap(() => ['BAD_ARGS', 'BAD_ARGS']));
    expect(await kernelState(world)).toEqual(there);
    await world.must(['ip', 'link', 'delete', foreign], { as: 'root' });
  });
});

/** What netd says when it is started from that path. */
const startFrom = (prepare: string, program: string): Promise<Finished> =>
  world.run(
    [
      'sh',
      '-ec',
      `mkdir -m 700 -p ${dir}2; mkdir -p ${evil}/bin; cp ${netdInside} ${evil}/bin/tapyard-netd; ${prepare}
       exec ${program} --scope host --dir ${dir}2`,
    ],
    { as: 'root' },
  );

describe('CVE-2020-3950 VMware: a privileged program trusts its own path', () => {
  test('a directory that others can write', async () => {
    const done = await startFrom(
      `chmod 755 ${evil}/bin/*; chmod 777 ${evil}/bin`,
      `${evil}/bin/tapyard-netd`,
    );
    expect(done.code).toBe(1);
    expect(done.stdout).toContain('UNSAFE_PATH');
  });
});

describe('CVE-2021-3747, CVE-2025-5199 Multipass: installed files of the wrong owner or mode', () => {
  test('a file that others can write', async () => {
    const done = await startFrom(
      `chmod 755 ${evil}/bin; chmod 777 ${evil}/bin/*`,
      `${evil}/bin/tapyard-netd`,
    );
    expect(done.code).toBe(1);
    expect(done.stdout).toContain('UNSAFE_PATH');
  });
  test('a file of somebody else', async () => {
    const done = await startFrom(
      `chmod 755 ${evil}/bin ${evil}/bin/*; chown 4711 ${evil}/bin/tapyard-netd`,
      `${evil}/bin/tapyard-netd`,
    );
    expect(done.code).toBe(1);
    expect(done.stdout).toContain('UNSAFE_PATH');
  });
});

describe('CVE-2021-3747, CVE-2025-5199 Multipass, besides: what is installed, and what a lab makes', () => {
  for (const title of [
    'a lab in the private scope',
    'a lab in the host scope, of root',
    'a lab in the host scope, of a user, and what the commands install by which he may have it',
  ])
    shownBy('test/guest/files.test.ts', title);
});

describe('CVE-2017-4915 VMware: a privileged process reads a user’s file', () => {
  test('netd holds no file outside its directory', () => {
    for (const fd of readdirSync(`/proc/${netdPid}/fd`)) {
      const where = readlinkSync(`/proc/${netdPid}/fd/${fd}`);
      const known = /^(socket:|pipe:|anon_inode:|\/memfd:|\/dev\/null$)/.test(where);
      expect(known || where.includes('/netd/') ? '' : where).toBe('');
    }
  });
});

describe('CVE-2020-15360 Docker Desktop: anybody may ask the helper', () => {
  test('another uid is refused for every verb, whoever it says it is (with CVE-2013-4401: read rights for writes)', async () => {
    const script = `const s = require('net').connect(process.argv[1]); s.write(process.argv[2]);
      s.on('data', (d) => process.stdout.write(d)); s.on('close', () => process.exit(0)); s.on('error', () => {})`;
    const up = [world.dir, path.dirname(dir), dir];
    await world.must(['sh', '-c', `chmod 711 ${up.join(' ')} && chmod 666 ${socket}`], { as: 'root' });
    for (const [verb, args] of Object.entries(requests)) {
      const done = await world.run([process.execPath, '-e', script, socket, hello + request(verb, args)]);
      expect(done.stdout).toContain('NOT_ALLOWED');
      expect(done.stdout).not.toContain('"ok"');
    }
    await world.must(
      ['sh', '-c', `chmod 700 ${up.slice(1).join(' ')}; chmod 755 ${up[0]}; chmod 600 ${socket}`],
      { as: 'root' },
    );
  });
});

describe('CVE-2013-4291 libvirt: supplementary groups', () => {
  test('a netd that root lends, and its dnsmasq, have no group of root’s, and three capabilities at most', async () => {
    const group = '4711';
    const lent = await HostLab.start(
      world,
      (command) => ['setpriv', '--groups', `0,${group}`, '--', ...command],
      'user',
    );
    await lent.up();
    const { pid } = lent.client.hello;
    const dnsmasq = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    expect(dnsmasq).not.toEqual(['']);
    for (const each of [String(pid), ...dnsmasq]) {
      const status = readFileSync(`/proc/${each}/status`, 'utf8');
      expect(status).toMatch(/^Groups:\s*$/m);
      const capabilities = each === String(pid) ? '3400' : '1400';
      expect(status).toMatch(new RegExp(`^CapEff:\\s*000000000000${capabilities}$`, 'm'));
      expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
    }
    await lent.client.request('shutdown', {});
    lent.client.close();
  });
});

describe('CVE-2021-3560, CVE-2021-4034 polkit, pkexec: no arguments at all', () => {
  test('netd without arguments, without even its own name, and with an empty one, ends with USAGE', async () => {
    // Linux since 5.18 gives who has no argument an empty one; an older one starts it with argc 0.
    const source = `${evil}/bare.c`;
    const program = `${evil}/bare`;
    writeFileSync(
      source,
      '#include <unistd.h>\nint main(int c, char **v) { (void)c; execve(v[1], &v[2], &v[2]); return 99; }\n',
    );
    await world.must(['cc', '-Wall', '-Wextra', '-Werror', '-static', '-o', program, source], { as: 'root' });
    for (const command of [[netdInside], [program, netdInside], ['bash', '-c', `exec -a '' ${netdInside}`]]) {
      const done = await world.run(command, { as: 'root' });
      expect(done.code).toBe(1);
      expect(done.stdout).toContain('USAGE');
    }
  });
});

describe('CVE-2021-3626, CVE-2025-9074, CVE-2026-34045: a control port that others reach', () => {
  test('with a network up no TCP or UDP port listens that did not before, but its dnsmasq’s on the bridge', async () => {
    const client = await NetdClient.connect(socket);
    const network = { ...br0, ipv6: 'fd12:3456:789a:1::/64' };
    await client.request('apply_network', { lab: 'seed', network });
    const [dnsmasq] = children();
    // Each line ends with who it is, in which the number of the process stands.
    const lines = (await world.must(['ss', '-Hlntup'], { as: 'root' })).trim().split('\n');
    const own = lines.filter((line) => line.includes(`pid=${dnsmasq},`));
    expect(own.length).toBeGreaterThan(0);
    expect(lines.filter((line) => !own.includes(line))).toEqual(listeningBefore);
    // It is bound to the bridge or to an address of it.
    for (const line of own) expect(line).toMatch(/ (?:\S+%br0|192\.168\.57\.1|\[fd12:3456:789a:1::1\]):\d+ /);
    await client.request('remove_network', { lab: 'seed', network: 'br0' });
    client.close();
  });
  shownBy(
    'test/net/gateway-scan.test.ts',
    'every port of the gateway is silent to a guest but 53, and ping answers',
  );
  shownBy(
    'test/unit/wire/serve.test.ts',
    'is all that can be had: no other path, no other method, no other host',
  );
});

describe('CVE-2012-3411 dnsmasq with libvirt: DNS for the whole world', () => {
  const subnet6 = 'fd12:3456:789a:1';
  /** Whether port 53 of an address answers a query by UDP, and what a TCP connection to it meets. */
  const knock = async (where: 'host1' | 'wan1', address: string): Promise<string> => {
    const script = `const address = process.argv[1];
      const udp = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
      const heard = { udp: 'silent', tcp: 'silent' };
      const query = Buffer.from('123401000001000000000000056775657374036c61620000010001', 'hex');
      udp.on('message', () => (heard.udp = 'answered')).on('error', () => {});
      for (let i = 0; i < 3; i++) setTimeout(() => udp.send(query, 53, address), i * 100);
      require('net').connect(53, address).on('connect', () => (heard.tcp = 'open'))
        .on('error', (error) => (heard.tcp = error.code));
      setTimeout(() => { console.log('udp', heard.udp, 'tcp', heard.tcp); process.exit(0); }, 700);`;
    return (await world.must([process.execPath, '-e', script, address], { as: 'root', in: where })).trim();
  };

  test('from outside, neither the host’s address nor the bridge’s answers', async () => {
    const client = await NetdClient.connect(socket);
    const network = { ...br0, ipv6: `${subnet6}::/64` };
    await client.request('apply_network', { lab: 'seed', network });
    for (const own of ['192.168.57.1', `${subnet6}::1`]) {
      await until(`dnsmasq answers at ${own} on the host itself`, 20_000, async () => {
        return (await knock('host1', own)) === 'udp answered tcp open';
      });
    }
    await world.must(['ip', 'addr', 'add', '2001:db8::2/64', 'dev', 'eth0', 'nodad'], { as: 'root' });
    const routes = `ip route add 192.168.57.0/24 via 203.0.113.2; ip route add ${subnet6}::/64 via 2001:db8::2`;
    await world.must(['sh', '-ec', routes], { as: 'root', in: 'wan1' });
    await until('the host refuses at its own address', 20_000, async () => {
      return (await knock('wan1', '203.0.113.2')) === 'udp silent tcp ECONNREFUSED';
    });
    expect(await knock('wan1', '192.168.57.1')).toBe('udp silent tcp silent');
    expect(await knock('wan1', `${subnet6}::1`)).toBe('udp silent tcp silent');
    await world.must(['ip', 'addr', 'del', '2001:db8::2/64', 'dev', 'eth0'], { as: 'root' });
    await client.request('remove_network', { lab: 'seed', network: 'br0' });
    client.close();
  });
});

describe('CVE-2025-52889, CVE-2025-52890 Incus: rules that let guests past the filter', () => {
  shownBy('native/netd/tests/antispoof.rs', 'lies_go_nowhere_and_truths_arrive');
});

describe('CVE-2026-23954, CVE-2026-48751 Incus: templates and projects that reach beyond themselves', () => {
  test('a lab file has no free arguments for QEMU, and no key that it does not know', () => {
    for (const key of ['args', 'qemu', 'qemu_args', 'raw.qemu', 'cmdline', 'exec', 'template']) {
      const text = `name: seed\nguests:\n  a: { image: micro, "${key}": ["-chardev", "file,path=/etc/passwd"] }\n`;
      const { problems } = readLabFile(new TextEncoder().encode(text));
      expect(problems.length, key).toBeGreaterThan(0);
    }
  });
  shownBy('test/unit/core-guest/argv.test.ts', 'never lets a path become another option');
  shownBy(
    'test/unit/core-guest/image.test.ts',
    'are refused where a link leads out of the directory, and followed where it does not',
  );
});

describe('CVE-2024-8695 Docker Desktop: text that becomes a page', () => {
  shownBy('test/unit/cli/text.test.ts', 'text from guests');
  shownBy('test/unit/renderer/tame.test.ts', 'a tamed terminal');
  shownBy('test/unit/wire/serve.test.ts', 'comes with the policy and the other headers');
});

describe('CVE-2026-34769 Electron: page data in a window’s options', () => {
  shownBy(
    'test/unit/shell/shell.test.ts',
    'opens one window without any rights, and brings it to the front the second time',
  );
});

describe('CVE-2015-5225, CVE-2023-3255, CVE-2023-3354, CVE-2023-6683 QEMU: VNC for everybody', () => {
  shownBy(
    'test/unit/core-guest/argv.test.ts',
    'denies all that a guest’s QEMU never needs, and opens no port',
  );
});

describe('CVE-2021-44731 snap-confine: a race in a setuid program', () => {
  test('nothing of ours is setuid or setgid', () => {
    for (const name of ['tapyard-netd', 'tapyard-tap']) {
      expect(statSync(path.join(checkout, 'native/target/release', name)).mode & 0o6000).toBe(0);
    }
  });
});

/** What cannot happen here, and why. */
const doNotApply = {
  'CVE-2013-4311, CVE-2013-4325':
    'netd asks polkit about itself alone, by its name on the bus; its own peers are who the kernel says they were at connect',
  'CVE-2019-15752, CVE-2025-3224': 'nothing updates itself; packages do',
  'CVE-2026-49238': 'no file is shared with a guest by a helper with privilege',
} as const;

describe('the verbs that are tried', () => {
  test('are those of the protocol, none forgotten', () => {
    const page = readFileSync(path.join(checkout, 'docs/netd-protocol.md'), 'utf8');
    const verbs = page.slice(page.indexOf('\n## Verbs\n'), page.indexOf('\n## Acts\n'));
    const named = [...verbs.matchAll(/^### ([a-z_]+)/gm)].map(([, verb]) => verb);
    expect(Object.keys(requests)).toEqual(named);
    // netd knows no other: the page is its source, and this its code.
    const dispatch = readFileSync(path.join(checkout, 'native/netd/src/server/dispatch.rs'), 'utf8');
    const known = [...dispatch.matchAll(/^ {8}"([a-z_]+)" =>/gm)].map(([, verb]) => verb);
    expect(new Set(['hello', ...known])).toEqual(new Set(named));
  });
});

describe('the list', () => {
  const page = readFileSync(path.join(checkout, 'docs/security.md'), 'utf8');
  test('docs/security.md has every row of this suite, and what does not apply with its reason', () => {
    const here = readFileSync(import.meta.filename, 'utf8');
    const rows = new Set(here.match(/CVE-\d{4}-\d+/g));
    for (const row of rows) expect(page).toContain(row);
    for (const row of new Set(page.match(/CVE-\d{4}-\d+/g))) expect(rows).toContain(row);
    for (const [row, why] of Object.entries(doNotApply)) {
      console.log(`does not apply: ${row}: ${why}`);
      expect(page).toContain(why);
    }
  });
  test('in the end the kernel is as before', async () => {
    expect(await kernelState(world)).toEqual(before);
  });
});
