// SPDX-License-Identifier: Apache-2.0
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import { br0 } from '../world/host-lab.ts';
import { kernelState } from '../world/kernel.ts';
import {
  checkout,
  checkoutInside,
  type Finished,
  firstWords,
  netdInside,
  type RunOptions,
  type Who,
  World,
} from '../world/world.ts';

/*
 * What netd takes away from itself before it listens, as /proc/PID/status tells (capabilities(7), seccomp(2)),
 * and from where it refuses to run with privilege.
 */

/** CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW. */
const network = '0000000000003400';
const withoutRaw = '0000000000001400';
const none = '0000000000000000';

const Said = z.union([
  z.looseObject({ ready: z.literal(true), pid: z.number(), socket: z.string() }),
  z.looseObject({
    error: z.looseObject({ code: z.string(), message: z.string(), subject: z.string().optional() }),
  }),
]);

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
});
afterAll(() => world?.close());

let directories = 0;

/** Starts netd and answers the line that it says. */
async function start(
  program: string,
  scope: readonly string[],
  options: RunOptions & { as: Who },
): Promise<z.infer<typeof Said>> {
  directories += 1;
  const dir = `${world.runtimeDir(options.as)}/netd${directories}`;
  const script = `mkdir -m 700 ${dir} && exec ${program} ${scope.join(' ')} --dir ${dir}`;
  const child = world.start(['/bin/sh', '-c', script], options);
  const line = await firstWords(child, 'netd');
  return Said.parse(JSON.parse(line));
}

async function ready(...how: Parameters<typeof start>): Promise<{ pid: number; socket: string }> {
  const said = await start(...how);
  if ('error' in said) throw new Error(JSON.stringify(said.error));
  return { pid: said['pid'], socket: said['socket'] };
}

function status(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
}

const children = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

const confined = { NoNewPrivs: '1', Seccomp: '2', CapInh: none, CapAmb: none };

const holding = (capabilities: string): Record<string, string> => ({
  NoNewPrivs: '1',
  Seccomp: '2',
  CapInh: capabilities,
  CapPrm: capabilities,
  CapEff: capabilities,
  CapAmb: capabilities,
});

/**
 * Applies br0 without IPv6, with it and without again. Its dnsmasq, a child of this netd, has a raw socket's
 * capability while it advertises a router. Answers the last one.
 */
async function applyInTurn(client: NetdClient, netd: number): Promise<number> {
  const ipv6 = 'fd12:3456:789a:1::/64';
  const turns = [
    [br0, withoutRaw],
    [{ ...br0, ipv6 }, network],
    [br0, withoutRaw],
  ] as const;
  let last = 0;
  for (const [spec, capabilities] of turns) {
    const { network: made } = await client.request('apply_network', { lab: 'seed', network: spec });
    expect(made).toMatchObject({ nat: true, filter: true, forwarding: true });
    const [dnsmasq] = children(netd).filter((pid) => status(pid)['Name'] === 'dnsmasq');
    if (dnsmasq === undefined) throw new Error('no dnsmasq');
    expect(status(dnsmasq)).toMatchObject(holding(capabilities));
    last = dnsmasq;
  }
  return last;
}

/** A copy of netd in a directory that root made with this mode, with file capabilities if asked. */
async function copy(name: string, mode: number, capabilities: boolean): Promise<string> {
  const dir = path.join(world.dir, name);
  mkdirSync(dir);
  chmodSync(dir, mode);
  const program = path.join(dir, 'tapyard-netd');
  cpSync(path.join(checkout, 'native/target/release/tapyard-netd'), program);
  chmodSync(program, 0o755);
  const names = 'cap_net_admin,cap_net_raw,cap_net_bind_service+ep';
  if (capabilities) await world.must(['setcap', names, program], { as: 'root' });
  return program;
}

test('root: three capabilities, no more to gain, and a hostile environment changes nothing', async () => {
  const trap = path.join(world.dir, 'trap');
  mkdirSync(trap);
  const sprung = path.join(trap, 'sprung');
  for (const name of ['dnsmasq', 'nft', 'ip', 'sh', 'pasta'])
    await world.must(
      ['sh', '-c', `printf '#!/bin/sh\\ntouch ${sprung}\\n' > ${trap}/${name} && chmod 755 ${trap}/${name}`],
      { as: 'root' },
    );
  const { pid, socket } = await ready(
    `/usr/bin/env PATH=${trap} LD_PRELOAD=${trap}/no.so LD_LIBRARY_PATH=${trap} IFS=/ LC_ALL=tr_TR.UTF-8 ${netdInside}`,
    ['--scope', 'host'],
    { as: 'root' },
  );
  expect(status(pid)).toMatchObject({ ...confined, CapBnd: network, CapPrm: network, CapEff: network });
  expect(status(pid)['Umask']).toBe('0077');
  expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size\s+0\s+0\s/m);

  const client = await NetdClient.connect(socket);
  try {
    const dnsmasq = await applyInTurn(client, pid);
    expect(readFileSync(`/proc/${dnsmasq}/environ`, 'utf8')).toBe('');
    for (const file of ['journal', 'dns/br0/hosts', 'dns/br0/servers'])
      expect(statSync(path.join(path.dirname(socket), file)).mode & 0o777, file).toBe(0o600);
    await client.request('shutdown', {});
  } finally {
    client.close();
  }
  expect(existsSync(sprung)).toBe(false);
  expect(await kernelState(world)).toEqual(before);
});

test.each(['user', 'root'] as const)(
  'the private scope of %s: its outer half can do nothing, its inner half three things in its own namespaces',
  async (as) => {
    const { pid, socket } = await ready(netdInside, ['--scope', 'private', '--lab', 'seed'], { as });
    expect(status(pid)).toMatchObject({ ...confined, CapPrm: none, CapEff: none });
    // Of its children one is the anchor, made before the inner half gave up namespaces and mounts: by that second
    // filter on top of the first it is known (pasta's is pasta's own).
    expect(status(pid)['Seccomp_filters']).toBe('1');
    const inner = children(pid).filter((child) => {
      const { Name, Seccomp_filters: filters } = status(child);
      return Name === 'tapyard-netd' && filters === '2';
    });
    expect(inner.map(status)).toMatchObject([
      { ...confined, CapBnd: network, CapPrm: network, CapEff: network },
    ]);
    // A user's netd serves that user alone, and this process is root.
    if (as === 'user') return;
    const client = await NetdClient.connect(socket);
    try {
      await applyInTurn(client, inner[0] ?? 0);
      await client.request('shutdown', {});
    } finally {
      client.close();
    }
  },
);

test('an ordinary user brings the host scope up with a netd that has file capabilities', async () => {
  const program = await copy('installed', 0o755, true);
  const { pid, socket } = await ready(program, ['--scope', 'host'], { as: 'user' });
  expect(status(pid)).toMatchObject({ ...confined, CapPrm: network, CapEff: network });
  expect(status(pid)['Uid']).toContain(String(world.uid));
  const client = await NetdClient.connect(socket);
  try {
    expect(client.hello).toMatchObject({ scope: 'host', uid: world.uid });
    await applyInTurn(client, pid);
    expect(await world.must(['ip', '-br', 'addr', 'show', 'br0'])).toContain('192.168.57.1/24');
    await client.request('shutdown', {});
  } finally {
    client.close();
  }
  expect(await kernelState(world)).toEqual(before);
});

test('started by root for a user, through sudo or pkexec, netd becomes the user’s and keeps three capabilities', async () => {
  const lent = await copy('lent', 0o755, false);
  for (const variable of ['SUDO_UID', 'PKEXEC_UID']) {
    directories += 1;
    const dir = `${world.runtimeDir('user')}/netd${directories}`;
    await world.must(['mkdir', '-m', '700', dir]);
    const command = ['env', '-u', 'SUDO_UID', `${variable}=${world.uid}`, lent, '--scope', 'host'];
    const child = world.start([...command, '--dir', dir], { as: 'root' });
    const line = await firstWords(child, 'netd');
    const said = Said.parse(JSON.parse(line));
    if ('error' in said) throw new Error(JSON.stringify(said.error));
    const facts = status(said['pid']);
    expect(facts).toMatchObject({
      ...confined,
      CapBnd: network,
      CapPrm: network,
      CapEff: network,
      Groups: '',
    });
    const ids = Array.from({ length: 4 }, () => String(world.uid)).join('\t');
    expect(facts).toMatchObject({ Uid: ids, Gid: ids });
    expect(statSync(said['socket']).uid).toBe(world.uid);
    const client = await NetdClient.connect(said['socket']);
    expect(client.hello).toMatchObject({ scope: 'host', uid: world.uid });
    await client.request('apply_network', { lab: 'seed', network: br0 });
    expect(await world.must(['ip', '-d', 'link', 'show', 'br0'])).toContain(
      `alias tapyard:${world.uid}:seed:br0`,
    );
    await client.request('shutdown', {});
    client.close();
  }
  // Whose directory is root's is served as root; a user's word for who called counts for nothing.
  const own = await ready(netdInside, ['--scope', 'host'], { as: 'root' });
  expect(status(own.pid)['Uid']).toBe('0\t0\t0\t0');
  const client = await NetdClient.connect(own.socket);
  await client.request('shutdown', {});
  client.close();
  expect(
    await start(`/usr/bin/env SUDO_UID=0 PKEXEC_UID=0 ${netdInside}`, ['--scope', 'host'], { as: 'user' }),
  ).toMatchObject({ error: { code: 'NO_PRIVILEGE' } });
  expect(await kernelState(world)).toEqual(before);
});

test('lent, netd has the groups of the user by the system’s files, not that of the directory', async () => {
  const lent = await copy('grouped', 0o755, false);
  const file = path.join(world.dir, 'etc', 'group');
  const groups = readFileSync(file, 'utf8');
  writeFileSync(file, `${groups}lab:x:4242:bob,tester\nother:x:4243:bob\n`);
  const dir = `${world.runtimeDir('user')}/grouped`;
  await world.must(['install', '-d', '-m', '700', '-o', String(world.uid), '-g', '4243', dir], {
    as: 'root',
  });
  const child = world.start(['env', `SUDO_UID=${world.uid}`, lent, '--scope', 'host', '--dir', dir], {
    as: 'root',
  });
  const line = await firstWords(child, 'netd');
  writeFileSync(file, groups);
  const said = Said.parse(JSON.parse(line));
  if ('error' in said) throw new Error(JSON.stringify(said.error));
  const ids = Array.from({ length: 4 }, () => String(world.uid)).join('\t');
  expect(status(said['pid'])).toMatchObject({
    Uid: ids,
    Gid: ids,
    Groups: expect.stringMatching(/^4242\s*$/),
  });
  const client = await NetdClient.connect(said['socket']);
  await client.request('shutdown', {});
  client.close();
});

test('through pkexec a user gets a netd in a directory of their own, and none that stays root', async () => {
  const asked = `/usr/bin/env -u SUDO_UID PKEXEC_UID=${world.uid} ${await copy('asked', 0o755, false)}`;
  expect(await start(asked, ['--scope', 'host'], { as: 'root' })).toMatchObject({
    error: { code: 'BAD_DIRECTORY' },
  });
});

test('netd with privilege refuses a path that others can write', async () => {
  const open = await copy('open', 0o777, false);
  expect(await start(open, ['--scope', 'host'], { as: 'root' })).toMatchObject({
    error: { code: 'UNSAFE_PATH', subject: path.dirname(open) },
  });
  const able = await copy('able', 0o777, true);
  expect(await start(able, ['--scope', 'host'], { as: 'user' })).toMatchObject({
    error: { code: 'UNSAFE_PATH', subject: path.dirname(able) },
  });
  const twice = await copy('twice', 0o755, true);
  await world.must(['ln', twice, `${twice}.old`], { as: 'root' });
  expect(await start(twice, ['--scope', 'host'], { as: 'user' })).toMatchObject({
    error: { code: 'UNSAFE_PATH', subject: twice },
  });
  expect(await start(netdInside, ['--scope', 'host'], { as: 'user' })).toMatchObject({
    error: { code: 'NO_PRIVILEGE' },
  });
  expect(await kernelState(world)).toEqual(before);
});

test('tapyard up --scope host: denied with the commands that allow it, and done once they were run', async () => {
  const file = world.file(
    'tapyard.yaml',
    'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24, nat: true }\n',
  );
  const denied = await world.tapyard(['up', file, '--scope', 'host']);
  expect(denied.code).toBe(1);
  expect(denied.stderr).toContain('sudo setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep');
  expect(denied.stderr).toContain('--scope private');

  // Their effect, in a /usr/libexec of this command's own mount namespace.
  const installed = '/usr/libexec/tapyard/host/tapyard-netd';
  const tapyard = `setpriv --reuid ${world.uid} --regid ${world.uid} --clear-groups -- ${world.tapyardCommand([]).join(' ')}`;
  const script = `set -eu
    mount -t tmpfs -o mode=755 none /usr/libexec
    install -D -m 0755 ${netdInside} ${installed}
    setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installed}
    export HOME=${world.home('user')} XDG_RUNTIME_DIR=${world.runtimeDir('user')} USER=tester
    ${tapyard} up ${file} --scope host
    ip -br addr show br0
    ${tapyard} down`;
  const done = await world.run(['sh', '-c', script], { as: 'root' });
  expect(done, done.stderr).toMatchObject({ code: 0 });
  expect(done.stdout).toContain('192.168.57.1/24');
  expect(await kernelState(world)).toEqual(before);
});

/* A polkit of this test's own, on a system bus of its own; the real pkexec, with our policy. */
describe('through polkit', () => {
  const libexec = '/usr/libexec/tapyard';
  const up = async (rule: string): Promise<Finished> => {
    const file = world.file(
      'tapyard.yaml',
      'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24, nat: true }\n',
    );
    const tapyard = `setpriv --reuid ${world.uid} --regid ${world.uid} --clear-groups -- ${world.tapyardCommand([]).join(' ')}`;
    const script = `set -eu
      mount -t tmpfs -o mode=755 none /usr/libexec
      mount -t tmpfs -o mode=755 none /run
      mount -t tmpfs -o mode=755 none /etc/polkit-1
      install -D -m 0755 ${netdInside} ${libexec}/tapyard-netd
      mkdir -p /run/dbus ${policies} /etc/polkit-1/rules.d
      cp ${checkoutInside}/assets/polkit/dev.tapyard.Tapyard.policy ${policies}/
      mount --bind ${policies} /usr/share/polkit-1/actions
      printf '%s\n' '${rule}' > /etc/polkit-1/rules.d/50-test.rules
      dbus-daemon --system --nofork --nopidfile --nosyslog & bus=$!
      for i in $(seq 100); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.05; done
      $(ls /usr/lib/polkit-1/polkitd /usr/libexec/polkitd 2>/dev/null | head -n 1) --no-debug & polkitd=$!
      trap 'kill $polkitd $bus' EXIT
      export HOME=${world.home('user')} XDG_RUNTIME_DIR=${world.runtimeDir('user')} USER=tester
      ${tapyard} up ${file} --scope host || exit $?
      ip -br addr show br0
      stat -c 'served by %u' ${world.runtimeDir('user')}/tapyard/netd-host/netd.sock
      ${tapyard} down`;
    return world.run(['sh', '-c', script], { as: 'root' });
  };
  const policies = '/run/policies';

  test('allowed: netd starts as root, becomes the user’s, and the lab is up', async () => {
    const done = await up(
      'polkit.addRule(function (action, subject) { if (action.id == "dev.tapyard.Tapyard.network") return polkit.Result.YES; });',
    );
    expect(done, done.stderr).toMatchObject({ code: 0 });
    expect(done.stdout).toContain('192.168.57.1/24');
    expect(done.stdout).toContain(`served by ${world.uid}\n`);
    expect(await kernelState(world)).toEqual(before);
  });

  test('refused, and nobody there to be asked, are told apart', async () => {
    const refused = await up('polkit.addRule(function () { return polkit.Result.NO; });');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('polkit does not allow you the host scope');
    expect(refused.stderr).toContain('[HOST_SCOPE_DENIED]');
    const alone = await up('// nothing');
    expect(alone.code).toBe(1);
    expect(alone.stderr).toContain('Nobody could be asked for the host scope');
    expect(alone.stderr).toContain('sudo -b');
    expect(await kernelState(world)).toEqual(before);
  });
});
