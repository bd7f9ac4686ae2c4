// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { NetdExposure } from '../../electron/core/net/netd-protocol.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { kernelState, type Json } from '../world/kernel.ts';
import { firstWords, hostAddress, until, wanAddress, World } from '../world/world.ts';

/*
 * Ports of the host that lead to guests by rule, seen from the LAN: a guest's service is reached at the declared
 * port and sees who asks, nothing else gets in, and when they are gone all is as it was.
 */

const neighbour = '203.0.113.9';
const guestAddress = '192.168.57.50';

let world: World;
let lab: HostLab;
let guest: PortGuest;
let before: Record<string, Json>;

const web: NetdExposure = {
  address: hostAddress,
  protocol: 'tcp',
  port: 8080,
  to: guestAddress,
  to_port: 80,
};
const expose = (exposure: NetdExposure) => lab.client.request('expose', { lab: 'seed', exposure });
const unexpose = ({ address, protocol, port }: NetdExposure) =>
  lab.client.request('unexpose', { lab: 'seed', address, protocol, port });
const exposed = async () => (await lab.network())?.exposed;

type Place = 'host1' | 'wan1';

/** What a service says that is reached at `address`, '' where it is not. */
async function ask(address: string, port: number, options: { from?: Place; as?: string } = {}) {
  const source = options.as === undefined ? '' : `-s ${options.as}`;
  const script = `timeout 3 nc ${source} -w 2 ${address} ${port} </dev/null | head -n 1`;
  return (await world.run(['sh', '-c', script], { as: 'root', in: options.from ?? 'wan1' })).stdout.trim();
}

async function askUdp(address: string, port: number, from: Place = 'wan1'): Promise<string> {
  const script = `echo hello | timeout 3 nc -u -W 1 ${address} ${port}`;
  return (await world.run(['sh', '-c', script], { as: 'root', in: from })).stdout.trim();
}

const onWan = (script: string) => world.must(['sh', '-ec', script], { as: 'root', in: 'wan1' });

beforeAll(async () => {
  world = World.create();
  await onWan(`ip addr add ${neighbour}/24 dev eth0; ip route add 192.168.57.0/24 via ${hostAddress}`);
  lab = await HostLab.start(world);
  before = await kernelState(world);
  await lab.up();
  guest = await lab.guest(guestAddress);
  await guest.serve(80);
});
afterAll(() => world?.close());

test('a declared port reaches the guest, which sees who asks; nothing else gets in', async () => {
  expect(await expose(web)).toMatchObject({ at: [hostAddress], changed: true });
  expect(await expose(web)).toMatchObject({ at: [hostAddress], changed: false });
  expect(await exposed()).toEqual([{ exposure: web, at: [hostAddress] }]);
  expect(await ask(hostAddress, 8080)).toBe(`you are ${wanAddress}`);
  expect(await ask(hostAddress, 8080, { as: neighbour })).toBe(`you are ${neighbour}`);
  expect(await askUdp(hostAddress, 8080), 'the other protocol').toBe('');
  expect(await ask(hostAddress, 80), 'another port').toBe('');
  expect(await ask(guestAddress, 80), 'the guest itself').toBe('');
  expect(await ask(guestAddress, 8080)).toBe('');
});

test('UDP', async () => {
  const echo: NetdExposure = { ...web, protocol: 'udp' };
  await expose(echo);
  expect(await askUdp(hostAddress, 8080)).toBe(`you are ${wanAddress}`);
  await unexpose(echo);
  expect(await askUdp(hostAddress, 8080)).toBe('');
});

test('UDP that goes on while its port comes, goes and comes again; other flows do not notice', async () => {
  const echo: NetdExposure = { ...web, protocol: 'udp', port: 8085 };
  const other = '203.0.113.3';
  await lab.host(`ip addr add ${other}/24 dev eth0`);
  const services = `const listen = (port, address, then) => require('node:dgram').createSocket('udp4').bind(port, address, then);
    listen(8086, '${hostAddress}', () => listen(8085, '${other}', () => console.log('up')));`;
  const service = world.start([process.execPath, '-e', services], { as: 'root' });
  await firstWords(service, 'the host’s own services');
  const flow = (to: string, port: number, from: Place): ChildProcess => {
    const sender = `const s = require('node:dgram').createSocket('udp4').on('message', (told) => console.log(String(told)));
      setInterval(() => s.send('hello', ${port}, '${to}', () => {}), 50);`;
    return world.start([process.execPath, '-e', sender], { as: 'root', in: from });
  };
  const sender = flow(hostAddress, 8085, 'wan1');
  const others = [
    [hostAddress, 8086, 'wan1'],
    [other, 8085, 'wan1'],
    [wanAddress, 8085, 'host1'],
  ] as const;
  const bystanders = others.map(([to, port, from]) => flow(to, port, from));
  const tracked = (to: string, port: number) =>
    lab.host(`conntrack -L -p udp --orig-dst ${to} --orig-port-dst ${port} -o id 2>/dev/null || :`);
  const ids = async () =>
    Promise.all(others.map(async ([to, port]) => /id=[0-9]+/.exec(await tracked(to, port))?.[0]));
  await until('all flows are tracked', 20_000, async () => {
    return (await tracked(hostAddress, 8085)) !== '' && (await ids()).every((id) => id !== undefined);
  });
  const known = await ids();

  const told = firstWords(sender, 'the sender', 20_000);
  await expose(echo);
  expect(await told).toBe(`you are ${wanAddress}\n\n`);
  await unexpose(echo);
  expect(await tracked(hostAddress, 8085)).not.toContain(guestAddress);
  expect(await askUdp(hostAddress, 8085)).toBe('');
  await expose(echo);
  await until('the sender gets through again', 20_000, async () => {
    return (await tracked(hostAddress, 8085)).includes(`src=${guestAddress}`);
  });
  expect(await ids()).toEqual(known);

  await unexpose(echo);
  for (const process of [service, sender, ...bystanders]) process.kill('SIGKILL');
  await lab.host(`ip addr del ${other}/24 dev eth0`);
});

test('from the host itself at the same address, and from no guest', async () => {
  expect(await ask(hostAddress, 8080, { from: 'host1' })).toBe(`you are ${hostAddress}`);
  expect(await ask('127.0.0.1', 8080, { from: 'host1' })).toBe('');
  const other = await lab.guest('192.168.57.51');
  expect((await other.run(`timeout 3 nc -w 2 ${hostAddress} 8080 </dev/null | head -n 1`)).stdout).toBe('');
});

test('all addresses of the uplink, as they come and go', async () => {
  const everywhere: NetdExposure = { ...web, address: '0.0.0.0', port: 8081 };
  expect(await expose(everywhere)).toMatchObject({ at: [hostAddress] });
  await lab.host('ip addr add 203.0.113.3/24 dev eth0');
  const at = async (): Promise<string[] | undefined> =>
    (await exposed())?.find(({ exposure }) => exposure.port === 8081)?.at;
  await until('the new address is taken in', 10_000, async () => (await at())?.length === 2);
  expect(await ask('203.0.113.3', 8081)).toBe(`you are ${wanAddress}`);
  await lab.host('ip addr del 203.0.113.3/24 dev eth0');
  await until('it is gone again', 10_000, async () => (await at())?.length === 1);
  expect(await ask(hostAddress, 8081)).toBe(`you are ${wanAddress}`);
  expect(await unexpose(everywhere)).toMatchObject({ changed: true });
  expect(await unexpose(everywhere)).toMatchObject({ changed: false });
  await expect(expose({ ...web, address: '192.0.2.1' })).rejects.toMatchObject({ code: 'NO_SUCH_ADDRESS' });
});

test('a connection ends with its port, and waits while NAT is off', async () => {
  const open = async (): Promise<{ ended: () => Promise<boolean>; write: () => void; end: () => void }> => {
    const client = world.start(
      [
        process.execPath,
        '-e',
        `const s = require('node:net').connect(8080, '${hostAddress}'); s.on('data', () => console.log('in'));
         s.on('error', () => {}); process.stdin.on('data', () => s.write('x'))`,
      ],
      { as: 'root', in: 'wan1' },
    );
    await firstWords(client, 'the connection');
    return {
      ended: async () =>
        !new RegExp(`src=${wanAddress} dst=${hostAddress} sport=\\d+ dport=8080`).test(
          await lab.host('conntrack -L -p tcp 2>/dev/null || :'),
        ),
      write: () => client.stdin?.write('x'),
      end: () => client.kill('SIGKILL'),
    };
  };
  /** What the client's end says of it (ss(8)). */
  const ofWan = () => onWan("ss -Htni state established 'dport = :8080'");
  const first = await open();
  expect(await first.ended()).toBe(false);
  await unexpose(web);
  expect(await first.ended()).toBe(true);
  expect(await ask(hostAddress, 8080)).toBe('');
  first.end();

  await expose(web);
  const second = await open();
  await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: false });
  expect(await ask(hostAddress, 8080), 'NAT is off').toBe('');
  second.write();
  await until('the client waits for an acknowledgement', 10_000, async () =>
    / unacked:1/.test(await ofWan()),
  );
  expect(await second.ended()).toBe(false);
  await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: true });
  await until('it is acknowledged', 10_000, async () => !/ unacked:/.test(await ofWan()));
  expect(await ofWan()).not.toBe('');
  second.end();
  expect(await ask(hostAddress, 8080)).toBe(`you are ${wanAddress}`);
});

test('a taken port is named with its owner', async () => {
  const listener = (address: string): string =>
    `require('node:net').createServer().listen(8090, '${address}', () => console.log('up')).on('error', (e) => { console.log(e.code) })`;
  // netd looks into processes of its own user that have no more privilege than itself; of others it knows whose.
  const without = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
  for (const [address, as, command, owner] of [
    ['0.0.0.0', 'root', without, String.raw`\S+ \(process \d+\)`],
    ['::', 'user', [], `a program of the user ${world.uid}`],
    [hostAddress, 'root', [], "a program of root's"],
  ] as const) {
    const other = world.start([...command, process.execPath, '-e', listener(address)], { as });
    await firstWords(other, 'the listener');
    await expect(expose({ ...web, port: 8090 })).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringMatching(new RegExp(String.raw`^203\.0\.113\.2:8090/tcp is taken by ${owner}$`)),
    });
    other.kill('SIGKILL');
    await new Promise((resolve) => other.once('close', resolve));
  }
  await lab.client.request('apply_network', {
    lab: 'other',
    network: {
      name: 'br1',
      subnet: '192.168.58.0/24',
      address: '192.168.58.1',
      mac: '52:54:00:00:00:02',
      mtu: 1500,
      nat: true,
      dhcp: null,
      domain: 'lab',
    },
  });
  const theirs = { ...web, address: '0.0.0.0', to: '192.168.58.9' };
  await expect(lab.client.request('expose', { lab: 'other', exposure: theirs })).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    message: `0.0.0.0:8080/tcp is taken by the lab seed, for ${guestAddress}:80`,
  });
  await lab.client.request('remove_network', { lab: 'other', network: 'br1' });
  // And the other way round: who comes later is told.
  const late = world.start([process.execPath, '-e', listener(hostAddress).replaceAll('8090', '8080')], {
    as: 'root',
  });
  expect(await firstWords(late, 'who comes later')).toBe('EADDRINUSE\n');
});

test('a port that the administrator sends elsewhere goes on being sent there', async () => {
  await lab.host(
    `nft 'table ip admin { chain in { type nat hook prerouting priority dstnat; tcp dport 8443 redirect to :9443; };
       chain out { type nat hook output priority -100; tcp dport 8443 redirect to :9443; }; }'`,
  );
  const listener = `require('node:net').createServer((s) => s.on('error', () => {}).end('the host itself\\n'))
    .listen(9443, () => console.log('up'))`;
  const service = world.start([process.execPath, '-e', listener], { as: 'root' });
  await firstWords(service, 'the host’s own service');
  const https: NetdExposure = { ...web, port: 8443 };
  await expose(https);
  // Our table is the newer one by this.
  await lab.host('nft delete table inet tapyard_0');
  const back = async () => (await exposed())?.every(({ at }) => at.length === 1);
  await until('the rules are mended', 10_000, async () => (await back()) === true);
  expect(await ask(hostAddress, 8443)).toBe('the host itself');
  expect(await ask(hostAddress, 8443, { from: 'host1' })).toBe('the host itself');
  await unexpose(https);
  service.kill('SIGKILL');
  await lab.host('nft delete table ip admin');
});

test('only to guests of networks that have a way in', async () => {
  for (const to of ['192.168.57.1', '192.168.57.255'])
    await expect(expose({ ...web, port: 8082, to })).rejects.toMatchObject({ code: 'BAD_ARGS' });
  await lab.host('ip addr add 192.168.57.99/32 dev lo');
  await expect(expose({ ...web, port: 8082, to: '192.168.57.99' })).rejects.toMatchObject({
    code: 'BAD_ARGS',
  });
  await lab.host('ip addr del 192.168.57.99/32 dev lo');
  await expect(expose({ ...web, port: 8082, to: '192.168.77.2' })).rejects.toMatchObject({
    code: 'NO_SUCH_NETWORK',
  });
});

test('it outlives netd, and is mended when somebody flushes the rules', async () => {
  await lab.restart();
  expect(await exposed()).toEqual([{ exposure: web, at: [hostAddress] }]);
  expect(await ask(hostAddress, 8080)).toBe(`you are ${wanAddress}`);
  await lab.host('nft flush ruleset');
  await until('it is back', 10_000, async () => (await exposed())?.[0]?.at.length === 1);
  expect(await ask(hostAddress, 8080)).toBe(`you are ${wanAddress}`);
});

test('with the network goes everything', async () => {
  await lab.host('ip link del port50; ip link del port51');
  await lab.down();
  expect(await kernelState(world)).toEqual(before);
  expect(await ask(hostAddress, 8080)).toBe('');
  await lab.up();
  expect(await exposed()).toEqual([]);
});
