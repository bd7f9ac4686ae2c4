// SPDX-License-Identifier: Apache-2.0
/*
 * What network-bench.ts measures, run inside its world: by the ordinary user for the private scope, by root for
 * the host scope and for the tutorial's commands. Reads one order a line (JSON) and answers each with one line.
 */
import { createInterface } from 'node:readline';
import { findProgram } from '../../electron/core/host/programs.ts';
import { endNetd, type Holder, lab, type Netd, openTaps, startNetd, timeShell } from './netd-inside.ts';
import { moreTaps, type Order, type Answer } from './network-orders.ts';

const mac = '52:54:00:12:34:02';
const network = {
  name: 'br0',
  subnet: '192.168.57.0/24',
  address: '192.168.57.1',
  mac: '52:54:00:12:34:01',
  mtu: 1500,
  nat: true,
  dhcp: {
    from: '192.168.57.128',
    to: '192.168.57.254',
    reservations: [{ mac, address: '192.168.57.2', guest: 'guest' }],
  },
  domain: 'lab',
} as const;

/** The tutorial's own rule; where iptables is not installed, what its successor has for it. */
const masquerade =
  findProgram('iptables') === undefined
    ? `nft 'add table ip nat; add chain ip nat postrouting { type nat hook postrouting priority srcnat; }; add rule ip nat postrouting oifname eth0 masquerade'`
    : 'iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE';

/** The tutorial's own steps in today's iproute2; its tap is persistent, as sh can hold no descriptor. */
const tutorialTap = `set -e
ip tuntap add dev tap0 mode tap
ip link set tap0 up
ip link set tap0 master br0`;
const tutorialNetwork = `set -e
ip link add br0 type bridge
ip link set br0 up
${tutorialTap}
ip addr add 192.168.57.1/24 dev br0
sysctl -qw net.ipv4.ip_forward=1
${masquerade}`;
const tutorialUndone = `ip link del tap0; ip link del br0; sysctl -qw net.ipv4.ip_forward=0; nft flush ruleset`;

const openSome = (netd: Netd, count: number): Promise<Holder> =>
  openTaps(
    netd,
    'guest',
    Array.from({ length: count }, (_, nic) => `${nic}:br0:52:54:00:12:34:${String(nic + 10)}:tap${nic}`),
  );

/** What opening so many taps takes, with the start of the program that receives them, ms. */
async function timeTaps(netd: Netd, count: number): Promise<number> {
  const began = performance.now();
  const holder = await openSome(netd, count);
  const ms = performance.now() - began;
  await holder.close();
  return ms;
}

/**
 * One tap from request to reply, ms. Only a program that receives descriptors can time a request for one: several
 * requests of one such program less one request leave requests and replies alone.
 */
async function openedAlone(netd: Netd): Promise<number> {
  const one = await timeTaps(netd, 1);
  return ((await timeTaps(netd, 1 + moreTaps)) - one) / moreTaps;
}

/** Until the scope's way out can be used: of the private one, that pasta's up0 has its address and route. */
async function uplinkReady({ client }: Netd): Promise<void> {
  const used = new Promise<void>((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error('no uplink within 20 s')), 20_000);
    const look = (device: string | null): void => {
      if (device === null) return;
      clearTimeout(deadline);
      resolve();
    };
    client.onEvent = (event) => {
      if (event.event === 'uplink') look(event.uplink.device);
    };
    client.request('observe', {}).then(({ uplink }) => look(uplink.device), reject);
  });
  await used;
}

/** Asks until the way out can be used: events are gathered for some ms, so they would come late. */
async function uplinkSeen({ client }: Netd): Promise<void> {
  const end = performance.now() + 20_000;
  while ((await client.request('observe', {})).uplink.device === null) {
    if (performance.now() > end) throw new Error('no uplink within 20 s');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/**
 * netd started, a network, its way out and one tap. Of the tap the request alone, or `started` with the program
 * that asks for it, which then becomes the guest's QEMU.
 */
async function networkUp(scope: 'private' | 'host', started: boolean): Promise<Answer> {
  const began = performance.now();
  const netd = await startNetd(scope);
  const ready = performance.now();
  const { steps } = await netd.client.request('apply_network', { lab, network });
  const applied = performance.now();
  // The host's own uplink was there before; the private one is pasta's and comes by itself, meanwhile.
  const wayOut = scope === 'private' ? uplinkSeen(netd) : undefined;
  const tap = started ? await openSome(netd, 1) : undefined;
  const tapped = performance.now();
  await wayOut;
  const usable = performance.now();
  await tap?.close();
  const alone = await openedAlone(netd);
  await endNetd(netd);
  return {
    ms: usable - began + (started ? 0 : alone),
    requests: applied - ready + alone,
    parts: {
      'netd ready': ready - began,
      apply_network: applied - ready,
      'of it waiting for dnsmasq': steps.find(({ id }) => id === 'dns')?.ms ?? 0,
      ...(started
        ? { 'tap with tapyard-tap': tapped - applied, 'of it open_tap': alone }
        : { open_tap: alone }),
      ...(scope === 'private' ? { 'uplink, after that': usable - tapped } : {}),
    },
  };
}

/** A network that stays up for the smaller measurements. */
let standing: Netd | undefined;
const stood = (): Netd => {
  if (standing === undefined) throw new Error('no network stands');
  return standing;
};

const acts: Readonly<Record<Order['do'], (order: Order) => Promise<Answer>>> = {
  'network up': ({ scope }) => networkUp(scope, false),
  'network up, tapyard-tap started': ({ scope }) => networkUp(scope, true),
  'tutorial network up': async () => {
    const ms = await timeShell(tutorialNetwork);
    await timeShell(tutorialUndone);
    return { ms };
  },
  'tutorial bridge': async () => ({ ms: await timeShell('ip link add br0 type bridge; ip link set br0 up') }),
  'tutorial tap': async () => {
    const ms = await timeShell(tutorialTap);
    await timeShell('ip link del tap0');
    return { ms };
  },
  'no tutorial bridge': async () => ({ ms: await timeShell('ip link del br0') }),
  stand: async ({ scope }) => {
    const began = performance.now();
    standing = await startNetd(scope);
    await standing.client.request('apply_network', { lab, network });
    await uplinkReady(standing);
    return { ms: performance.now() - began };
  },
  taps: async ({ count }) => ({ ms: await timeTaps(stood(), count ?? 1) }),
  'toggle NAT': async ({ nat }) => {
    const began = performance.now();
    const done = await stood().client.request('set_nat', { lab, network: 'br0', nat: nat ?? true });
    const ms = performance.now() - began;
    if (done.nat !== nat || !done.changed) throw new Error(`NAT was not switched ${nat ? 'on' : 'off'}`);
    return { ms };
  },
  'network again': async () => {
    const { client } = stood();
    await client.request('remove_network', { lab, network: network.name });
    const began = performance.now();
    await client.request('apply_network', { lab, network: { ...network, dhcp: null } });
    const applied = performance.now() - began;
    return { ms: applied + (await openedAlone(stood())) };
  },
  fall: async () => {
    const began = performance.now();
    await endNetd(stood());
    standing = undefined;
    return { ms: performance.now() - began };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order: Order = JSON.parse(line);
  const answer = await acts[order.do](order).catch((error: unknown) => ({ error: String(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
