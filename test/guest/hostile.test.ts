// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { compile } from '../world/compile.ts';
import {
  answer,
  crossings,
  eui64,
  forgedAnswer,
  type Frame,
  lies,
  type Station,
  theEnd,
  truths,
} from '../world/frames.ts';
import { keeperOf } from '../world/keeper.ts';
import { finish, firstWords, until, type Who, World } from '../world/world.ts';

/*
 * A real guest, booted, sends by packet sockets what a hostile one would, and another real guest, with a NIC on each
 * network, hears by packet sockets what comes of it; so does the host on every interface. On the network `open`, which
 * has no guard, the same lies arrive, so they are well made, sent and heard. From taps, with more kinds of frames:
 * native/netd/tests/antispoof.rs and separation.rs.
 */

const networks = ['br0', 'iso1', 'iso2', 'open'] as const;
type NetworkName = (typeof networks)[number];
const guests = ['liar', 'other'] as const;
type GuestName = (typeof guests)[number];

const prefix6 = (network: NetworkName): string => `fd12:3456:789a:${networks.indexOf(network) + 1}`;
const nic = (network: NetworkName): string => `eth${networks.indexOf(network)}`;
const macOf = (guest: GuestName, network: NetworkName): string =>
  `52:54:00:00:0${networks.indexOf(network)}:0${guests.indexOf(guest) + 2}`;
const net4 = (network: NetworkName): string => `192.168.${networks.indexOf(network) + 57}`;

const definition = (): string => {
  const subnets = (name: NetworkName): string => `subnet: ${net4(name)}.0/24, ipv6: '${prefix6(name)}::/64'`;
  const nics = (guest: GuestName): string =>
    networks
      .map((network) => {
        const address = `${net4(network)}.${guests.indexOf(guest) + 2}`;
        return `{ network: ${network}, address: ${address}, mac: '${macOf(guest, network)}' }`;
      })
      .join(', ');
  return `name: seed
networks:
  br0: { ${subnets('br0')} }
  iso1: { mode: isolated, ${subnets('iso1')} }
  iso2: { mode: isolated, ${subnets('iso2')} }
  open: { mode: isolated, antispoof: false, ${subnets('open')} }
guests:
${guests.map((guest) => `  ${guest}: { image: micro, memory: 256M, cpus: 1, nics: [${nics(guest)}] }`).join('\n')}
`;
};

const Links = z.array(
  z.looseObject({ ifname: z.string(), address: z.string(), ifalias: z.string().optional() }),
);

/** What was heard: who heard it, at which interface, on which network, and whether it came in there. */
interface Heard {
  readonly by: GuestName | 'host';
  readonly at: string;
  readonly network: NetworkName | undefined;
  readonly comesIn: boolean;
  readonly name: string;
}

/** The network that an interface is on. */
type NetworkOf = (device: string) => NetworkName | undefined;

let world: World;
afterEach(() => world?.close());

/** One that listens, until it is told to stop. */
class Ear {
  readonly #by: Heard['by'];
  readonly #child: ChildProcess;
  readonly #networkOf: NetworkOf;
  #text = '';

  private constructor(by: Heard['by'], child: ChildProcess, networkOf: NetworkOf) {
    this.#by = by;
    this.#child = child;
    this.#networkOf = networkOf;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#text += text));
  }

  static async open(
    by: Heard['by'],
    command: readonly string[],
    who: Who,
    networkOf: NetworkOf,
  ): Promise<Ear> {
    const child = world.start(command, { as: who });
    const ear = new Ear(by, child, networkOf);
    await firstWords(child, `${by} listening`);
    return ear;
  }

  heard(): Heard[] {
    const lines = this.#text.matchAll(/^(\S+) (in|out) (.*)\n/gm);
    return [...lines].map(([, at = '', way, name = '']) => {
      return { by: this.#by, at, network: this.#networkOf(at), comesIn: way === 'in', name };
    });
  }

  async stop(): Promise<void> {
    expect(await finish(this.#child, `${this.#by} stops listening`)).toMatchObject({ code: 0 });
  }
}

/** All that the two guests send, and all that is heard of it anywhere. */
async function trial(who: Who, scope: 'private' | 'host'): Promise<{ sent: Sent; heard: Heard[] }> {
  world = World.create();
  await world.serveWan();
  const program = compile(world, 'frames');
  const file = world.file('tapyard.yaml', definition(), who);
  const up = await world.tapyard(['up', file, '--scope', scope], { as: who, timeout: 150_000 });
  expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
  const guest = (name: GuestName, command: string): string[] =>
    world.tapyardCommand(['ssh', name, '--', command]);
  const inGuest = async (name: GuestName, command: string, input?: string | Buffer): Promise<boolean> => {
    const child = world.start(guest(name, command), { as: who });
    if (input !== undefined) child.stdin?.write(input);
    return (await finish(child, command)).code === 0;
  };
  // Then the host knows where they are, and nothing has to wait for that.
  const pings = networks.flatMap((network) => [
    `ping -c1 -W2 -I ${nic(network)} ${net4(network)}.1`,
    `ping -6 -c1 -W2 -I ${nic(network)} ${prefix6(network)}::1`,
  ]);
  for (const name of guests) {
    await until(`${name} reaches its gateways`, 90_000, () => inGuest(name, pings.join(' && ')));
    const taken = 'cat >/tmp/frames && chmod +x /tmp/frames';
    expect(await inGuest(name, taken, readFileSync(program))).toBe(true);
  }

  const inside = scope === 'private' ? ['nsenter', '-t', String(keeperOf(world)), '-n', '--'] : [];
  const links = Links.parse(JSON.parse(await world.must([...inside, 'ip', '-j', 'link'], { as: 'root' })));
  // "tapyard:UID:seed:NETWORK", and for a tap the guest behind it.
  const networkOf: NetworkOf = (device) => {
    const alias = links.find(({ ifname }) => ifname === device)?.ifalias?.split(':');
    return networks.find((network) => alias?.[3] === network);
  };
  const ofNic = (device: string): NetworkName | undefined =>
    networks.find((network) => nic(network) === device);
  const ears = [
    await Ear.open('host', [...inside, program, 'hear'], 'root', networkOf),
    ...(await Promise.all(guests.map((name) => Ear.open(name, guest(name, '/tmp/frames hear'), who, ofNic)))),
  ];
  const sent = whatIsSent((network) => {
    const link = links.find(({ ifname }) => ifname === network);
    if (link === undefined) throw new Error(`there is no bridge ${network}`);
    return link.address;
  });
  for (const name of guests) {
    const lines = sent.lines[name].map(
      ([network, { bytes }]) => `${nic(network)} ${bytes.toString('hex')}\n`,
    );
    expect(await inGuest(name, '/tmp/frames send', lines.join(''))).toBe(true);
    const peer = guests.find((other) => other !== name);
    await until(`the end of what ${name} sent`, 60_000, () => {
      const heard = ears.flatMap((ear) => ear.heard()).filter(({ by, comesIn }) => by === peer && comesIn);
      return networks.every((network) => heard.some((one) => one.name === `${name} on ${network}: the end`));
    });
  }
  // What the host would have answered, or asked for first, is on its way for a moment.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  for (const ear of ears) await ear.stop();
  return { sent, heard: ears.flatMap((ear) => ear.heard()) };
}

interface Sent {
  readonly truths: Record<NetworkName, readonly Frame[]>;
  readonly lies: Record<NetworkName, readonly Frame[]>;
  readonly crossings: readonly Frame[];
  readonly lines: Record<GuestName, readonly (readonly [NetworkName, Frame])[]>;
}

function whatIsSent(macOfBridge: (network: NetworkName) => string): Sent {
  const station = (mac: string, ipv4: string, ipv6: string): Station => {
    return { mac, ipv4, ipv6, linkLocal: eui64('fe80:0:0:0', mac) };
  };
  const of = (guest: GuestName, network: NetworkName): Station => {
    const mac = macOf(guest, network);
    return station(mac, `${net4(network)}.${guests.indexOf(guest) + 2}`, eui64(prefix6(network), mac));
  };
  const gateway = (network: NetworkName): Station =>
    station(macOfBridge(network), `${net4(network)}.1`, `${prefix6(network)}::1`);
  const each = (make: (network: NetworkName) => Frame[]): Record<NetworkName, Frame[]> => {
    return { br0: make('br0'), iso1: make('iso1'), iso2: make('iso2'), open: make('open') };
  };
  const told = (make: typeof truths): Record<NetworkName, Frame[]> =>
    each((network) =>
      make(`liar on ${network}`, of('liar', network), of('other', network), gateway(network)),
    );
  const across = (guest: GuestName, peer: GuestName): (readonly [NetworkName, Frame])[] =>
    networks.flatMap((network) => {
      const others = networks.filter((other) => other !== network);
      return others.flatMap((other) => {
        const there = { guest: of(peer, other), gateway: gateway(other) };
        const prefix = `${guest} on ${network} into ${other}`;
        const frames = crossings(prefix, of(guest, network), gateway(network), there);
        return frames.map((frame) => [network, frame] as const);
      });
    });
  const end = (guest: GuestName): (readonly [NetworkName, Frame])[] =>
    networks.map((network) => [network, theEnd(`${guest} on ${network}`, of(guest, network))]);
  const spoken = { truths: told(truths), lies: told(lies) };
  const openOther = of('other', 'open');
  const intoHost = (['open', 'br0'] as const).flatMap((network) => {
    const own = of('liar', network);
    const forged = { ...own, mac: macOf('liar', 'open') };
    return [
      ...forgedAnswer('liar on open into the host', forged, openOther, gateway(network)).map(
        (frame) => ['open', frame] as const,
      ),
      ...answer(`liar on ${network} into the host`, own, gateway(network)).map(
        (frame) => [network, frame] as const,
      ),
    ];
  });
  const crossing = { liar: [...across('liar', 'other'), ...intoHost], other: across('other', 'liar') };
  const own = networks.flatMap((network) =>
    [...spoken.truths[network], ...spoken.lies[network]].map((frame) => [network, frame] as const),
  );
  return {
    ...spoken,
    crossings: [...crossing.liar, ...crossing.other].map(([, frame]) => frame),
    lines: {
      liar: [...crossing.liar, ...own, ...end('liar')],
      other: [...crossing.other, ...end('other')],
    },
  };
}

const names = (frames: readonly Pick<Frame, 'name'>[]): string[] =>
  [...new Set(frames.map(({ name }) => name))].sort();

/** Those in the host's own name, which the filter drops even there where the kernel shows it bridged frames. */
const asHost = /(the (link-local )?IPv[46] of|a DHCP offer as) the gateway$/;

function judge({ sent, heard }: Awaited<ReturnType<typeof trial>>): void {
  const own = (network: NetworkName): string[] => {
    const arrived = heard.filter((one) => one.by === 'other' && one.comesIn && one.network === network);
    return names(arrived).filter(
      (name) => name.startsWith(`liar on ${network}: `) && !name.endsWith('the end'),
    );
  };
  // All of it was sent.
  const left = names(heard.filter(({ by, comesIn }) => by === 'host' && comesIn));
  for (const network of networks)
    expect(left).toEqual(expect.arrayContaining(names([...sent.truths[network], ...sent.lies[network]])));
  expect(left).toEqual(expect.arrayContaining(names(sent.crossings)));

  // Without the guard the other guest hears everything, with it the truth alone.
  const believed = names([...sent.truths.open, ...sent.lies.open]).filter((name) => !asHost.test(name));
  expect(own('open').filter((name) => !asHost.test(name))).toEqual(believed);
  for (const network of ['br0', 'iso1', 'iso2'] as const)
    expect(own(network)).toEqual(names(sent.truths[network]));
  // And nothing but the tap of who lies carries a lie.
  const told = new Set(names([...sent.lies.br0, ...sent.lies.iso1, ...sent.lies.iso2]));
  const carried = heard.filter(({ by, name }) => by !== 'liar' && told.has(name));
  expect(carried.filter(({ by, comesIn }) => by !== 'host' || !comesIn)).toEqual([]);
  expect(new Set(carried.map(({ at }) => at)).size).toBe(3);

  // What was sent on a network was heard there and nowhere else. (A guest that believes a lie answers it anywhere.)
  const elsewhere = heard.filter(({ network, name }) => !new RegExp(`^\\S+ on ${network}\\b`).test(name));
  const lied = new Set(names(sent.lies.open));
  expect(elsewhere.filter(({ name }) => !lied.has(name))).toEqual([]);
  // Nor did the host, or anybody in another network, answer what was sent there.
  const crossing = new Set(names(sent.crossings));
  expect(
    heard.filter(({ by, comesIn, name }) => comesIn && crossing.has(name) && name.startsWith(by)),
  ).toEqual([]);
}

test('of the host scope', { timeout: 300_000 }, async () => {
  judge(await trial('root', 'host'));
});

test('of the private scope', { timeout: 300_000 }, async () => {
  judge(await trial('user', 'private'));
});
