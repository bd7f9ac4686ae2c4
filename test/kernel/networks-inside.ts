// SPDX-License-Identifier: Apache-2.0
/* What networks.test.ts runs in a distribution's kernel, as root: `node networks-inside.mjs CHECK`. */
import assert from 'node:assert/strict';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import { z } from '../../electron/contract/zod.ts';
import { br0, HostLab, PortGuest } from '../world/host-lab.ts';
import { kernelState } from '../world/kernel.ts';
import { answerAt } from '../world/tap-guest.ts';
import { checkoutInside, ended, firstWords, netdInside, type Who, World } from '../world/world.ts';
import { ipv6Out } from './ipv6-inside.ts';

const guestMac = '52:54:00:00:00:02';
const guestAddress = '192.168.57.2';
const network = {
  ...br0,
  dhcp: { ...br0.dhcp, reservations: [{ mac: guestMac, address: guestAddress, guest: 'guest' }] },
};
const noShape = { rate: 0, delay: 0, jitter: 0, loss: 0 };
const tapFd = 11;
const vhostFd = 12;

/**
 * The host scope: a guest gets out, NAT cuts it off and lets it out, another's tap is shaped, and `down` leaves the
 * kernel as it was.
 */
async function hostScope(world: World): Promise<void> {
  await world.serveWan();
  const before = await kernelState(world);
  const lab = await HostLab.start(world);
  await lab.up(network);
  const other = await lab.guest('192.168.57.3');
  await other.getsThrough();
  await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: false });
  assert.deepEqual(await other.reaches(), { tcp: false, udp: false, ping: false });
  await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: true });
  await other.getsThrough();
  await lab.host('ip link del port3');

  const guest = await TapGuest.start(world, 'root', lab.client, (script) => lab.host(script));
  assert.equal(guest.vhost, '/dev/vhost-net');
  assert.match(readFileSync('/proc/modules', 'utf8'), /^vhost_net /m);
  await isRefused(guest);
  await isDelayed(guest);
  await isHeld(guest);
  await guest.end();
  await lab.down();
  assert.deepEqual(await kernelState(world), before);
}

/** The private scope, by an ordinary user: a guest gets out through pasta, and another's tap is shaped. */
async function privateScope(world: World): Promise<void> {
  await world.serveWan();
  const dir = `${world.runtimeDir('user')}/netd`;
  const start = `mkdir -m 700 ${dir}; exec ${netdInside} --scope private --lab seed --dir ${dir}`;
  const netd = world.start(['sh', '-ec', start]);
  await firstWords(netd, 'netd');
  // It listens to nobody else.
  process.seteuid?.(world.uid);
  const client = await NetdClient.connect(`${dir}/netd.sock`);
  process.seteuid?.(0);
  await client.request('apply_network', { lab: 'seed', network });
  const { keeper } = z
    .looseObject({ keeper: z.looseObject({ pid: z.number() }) })
    .parse(JSON.parse(readFileSync(`${dir}/anchor.json`, 'utf8')));
  const nsenter = ['nsenter', '-t', String(keeper.pid), '-n'];
  const inLab = (command: readonly string[]): string[] => [...nsenter, ...command];
  const other = await PortGuest.start(world, '192.168.57.3', inLab);
  await other.getsThrough();

  // Its user may not load a module; the kernel does when it is asked for what the module has.
  await world.must(['busybox', 'rmmod', 'sch_netem'], { as: 'root' });
  const host = (script: string): Promise<string> => world.must(inLab(['sh', '-ec', script]), { as: 'root' });
  const guest = await TapGuest.start(world, 'user', client, host);
  await isDelayed(guest);
  await guest.end();
  await client.request('shutdown', {});
  client.close();
  await ended(netd, 'netd');
}

/** What is said where the modules may not be loaded. */
async function isRefused(guest: TapGuest): Promise<void> {
  const loader = '/proc/sys/kernel/modprobe';
  const usual = readFileSync(loader, 'utf8');
  writeFileSync(loader, '/bin/false\n');
  await assert.rejects(guest.shape({ delay: 1000 }), { code: 'NETEM_MISSING' });
  await assert.rejects(guest.shape({ rate: 1_000_000 }), { code: 'SHAPER_MISSING' });
  writeFileSync(loader, usual);
  assert.deepEqual(await guest.disciplines(), []);
}

async function isDelayed(guest: TapGuest): Promise<void> {
  await guest.shape({ delay: 150_000 });
  assert.deepEqual(await guest.disciplines(), ['ifb-tap0 netem', 'tap0 ingress', 'tap0 netem']);
  const late = await guest.pinged('-c 2');
  assert.ok(late.received === 2 && late.least >= 300, JSON.stringify(late));
}

/** Loss, and a rate with a delay and without. */
async function isHeld(guest: TapGuest): Promise<void> {
  // Three of ten each way leaves half; that is five standard deviations from either bound.
  await guest.shape({ loss: 300_000 });
  const lossy = await guest.pinged('-c 100 -i 0.01');
  assert.ok(lossy.received > 24 && lossy.received < 74, JSON.stringify(lossy));

  // With a delay the rate is netem's: a frame comes when its last bit would.
  const rate = 100_000;
  const bits = (14 + 20 + 8 + 1400) * 8;
  await guest.shape({ delay: 1000, rate });
  const slow = await guest.pinged('-c 2 -s 1400');
  assert.ok(slow.received === 2 && slow.least >= (2 * bits * 1000) / rate, JSON.stringify(slow));

  // Alone it is a bucket, of two frames and what is just on its way.
  await guest.shape({ rate });
  assert.deepEqual(await guest.disciplines(), ['ifb-tap0 tbf', 'tap0 ingress', 'tap0 tbf']);
  const held = await guest.pinged('-c 12 -A -s 1400');
  assert.ok(held.received === 12 && held.took >= ((12 - 4) * bits * 1000) / rate, JSON.stringify(held));

  await guest.shape({});
  assert.deepEqual(await guest.disciplines(), []);
}

type Shape = typeof noShape;

/** A guest that answers pings at its tap, which tapyard-tap hands over, to root's with vhost. */
class TapGuest {
  /** What its vhost descriptor leads to. */
  readonly vhost: string;
  readonly end: () => Promise<void>;
  readonly shape: (shape: Partial<Shape>) => Promise<unknown>;
  readonly #host: (script: string) => Promise<string>;

  private constructor(
    told: Pick<TapGuest, 'vhost' | 'end' | 'shape'>,
    host: (script: string) => Promise<string>,
  ) {
    this.vhost = told.vhost;
    this.end = told.end;
    this.shape = told.shape;
    this.#host = host;
  }

  /** `host` runs a script where its bridge is. */
  static async start(
    world: World,
    who: Who,
    client: NetdClient,
    host: (script: string) => Promise<string>,
  ): Promise<TapGuest> {
    const socket = `${world.runtimeDir(who)}/netd/netd.sock`;
    const vhostWanted = who === 'root' ? `--vhost ${vhostFd}` : '';
    const command = `exec ${checkoutInside}/native/target/release/tapyard-tap exec --netd ${socket} --lab seed
      --guest guest --tap ${tapFd}:0:br0:${guestMac}:tap0 ${vhostWanted} --
      ${process.execPath} ${checkoutInside}/dist/stock-kernel/networks-inside.mjs guest`;
    const child = world.start(['sh', '-c', command.replaceAll('\n', ' ')], { as: who });
    const vhost = (await firstWords(child, 'the guest')).trim();
    const shape = (more: Partial<Shape>): Promise<unknown> =>
      client.request('set_shape', {
        lab: 'seed',
        network: 'br0',
        guest: 'guest',
        nic: 0,
        shape: { ...noShape, ...more },
      });
    const guest = new TapGuest({ vhost, end: () => ended(child, 'the guest'), shape }, host);
    assert.equal((await guest.pinged('-c 1')).received, 1);
    return guest;
  }

  /** The disciplines that are not the kernel's own choice. */
  async disciplines(): Promise<string[]> {
    return z
      .array(z.looseObject({ dev: z.string(), kind: z.string() }))
      .parse(JSON.parse(await this.#host('tc -j qdisc')))
      .filter(({ kind }) => ['netem', 'tbf', 'ingress'].includes(kind))
      .map(({ dev, kind }) => `${dev} ${kind}`)
      .toSorted();
  }

  /** Pings it: how many came back, the least that one took and how long it took in all, ms. */
  async pinged(options: string): Promise<{ received: number; least: number; took: number }> {
    const began = performance.now();
    const said = await this.#host(`busybox ping -q ${options} ${guestAddress} || :`);
    const took = performance.now() - began;
    const received = Number(/(\d+) packets received/.exec(said)?.[1]);
    return { received, least: Number(/min\/avg\/max = ([0-9.]+)/.exec(said)?.[1]), took };
  }
}

/** What it runs. */
function answer(): void {
  answerAt(
    tapFd,
    Buffer.from(guestMac.replaceAll(':', ''), 'hex'),
    Uint8Array.from(guestAddress.split('.').map(Number)),
  );
  let vhost = 'no vhost';
  try {
    vhost = readlinkSync(`/proc/self/fd/${vhostFd}`);
  } catch {
    // It was not asked for.
  }
  console.log(vhost);
}

const checks: Record<string, (world: World) => Promise<void>> = {
  'host scope': hostScope,
  'private scope': privateScope,
  'IPv6 out': ipv6Out,
};

const wanted = process.argv[2] ?? '';
if (wanted === 'guest') {
  answer();
} else {
  const check = checks[wanted];
  if (check === undefined) throw new Error(`there is no check ${wanted}`);
  const world = World.create();
  try {
    await check(world);
  } finally {
    world.close();
  }
}
