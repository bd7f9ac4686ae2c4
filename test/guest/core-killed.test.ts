// SPDX-License-Identifier: Apache-2.0
import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, kernelState } from '../world/kernel.ts';
import type { SerialLine } from '../world/serial-line.ts';
import { until, wanAddress } from '../world/world.ts';
import { forwardedPort, MortalCore, reachesWan, type Way } from './mortal-core.ts';

/*
 * kill -9 of the core at each step of what changes a lab that is up (test/world/fault-points.mjs finds the steps):
 * the guest has its network all the while, the file is the old or the new one, the next core shows the guest as it
 * is, `up` makes the kernel what the file says, with the same QEMU, which reaches the internet where the file says
 * so, and `down` leaves nothing.
 */

const lab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }
  br1: { subnet: 192.168.58.0/24 }
guests:
  web:
    image: micro
    memory: 192M
    nics: [{ network: br0, address: 192.168.57.2 }]
`;
const otherLab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, mtu: 1400 }
  br1: { subnet: 192.168.60.0/24, mode: isolated }
  br2: { subnet: 192.168.59.0/24 }
guests:
  web:
    image: micro
    memory: 192M
    nics:
      - { network: br0, address: 192.168.57.2, shape: { rate: 8mbit } }
      - { network: br2, mac: "52:54:00:59:00:07" }
    forwards: [{ port: ${forwardedPort}, to: 22 }]
`;
const gateway = '192.168.57.1';

/** A change of the lab and its way back, in the calls that the window makes too. */
interface Change {
  readonly what: string;
  readonly there: Way;
  readonly back: Way;
  /** It cuts the guest off from the internet. */
  readonly cuts?: true;
}

const guest = { lab: 'seed', guest: 'web' };
const listening = { address: '127.0.0.1', port: forwardedPort, protocol: 'tcp' } as const;
const br0 = { lab: 'seed', network: 'br0' };
const br1 = { lab: 'seed', network: 'br1' };
const br2 = { lab: 'seed', network: 'br2' };

/** Somebody writes the file, and brings the lab up that is up. */
const upWith =
  (text: string): Way =>
  async (mortal) => {
    writeFileSync(mortal.file, text);
    await mortal.done(await mortal.client.lab.up({ lab: 'seed' }));
  };

const nat: Change = {
  what: 'NAT off and on',
  there: ({ client }) => client.network.setNat({ ...br0, nat: false }),
  back: ({ client }) => client.network.setNat({ ...br0, nat: true }),
  cuts: true,
};
const up: Change = {
  what: 'up with another file and the old one',
  there: upWith(otherLab),
  back: upWith(lab),
};

const inPrivate: readonly Change[] = [
  {
    what: 'a bandwidth and none',
    there: ({ client }) => client.guest.setShape({ ...guest, nic: 0, shape: { rate: '4mbit' } }),
    back: ({ client }) => client.guest.setShape({ ...guest, nic: 0, shape: {} }),
  },
  {
    what: 'plugging and unplugging',
    there: ({ client }, fileHash) =>
      client.guest.addNic({ ...guest, nic: { network: 'br1', mac: '52:54:00:58:00:07' }, fileHash }),
    back: ({ client }, fileHash) => client.guest.removeNic({ ...guest, nic: 1, fileHash }),
  },
  {
    what: 'a forward and none',
    there: ({ client }) => client.forward.add({ ...guest, forward: { ...listening, to: 22 } }),
    back: ({ client }) => client.forward.remove({ ...guest, ...listening }),
  },
  {
    what: 'a network and none',
    there: ({ client }, fileHash) =>
      client.network.create({
        ...br2,
        definition: { subnet: '192.168.59.0/24', mode: 'nat' },
        fileHash,
      }),
    back: ({ client }, fileHash) => client.network.remove({ ...br2, fileHash }),
  },
  {
    what: 'another network and the old one',
    there: ({ client }, fileHash) =>
      client.network.change({
        ...br1,
        definition: { subnet: '192.168.60.0/24', mode: 'isolated' },
        fileHash,
      }),
    back: ({ client }, fileHash) =>
      client.network.change({
        ...br1,
        definition: { subnet: '192.168.58.0/24', mode: 'nat' },
        fileHash,
      }),
  },
  nat,
  up,
];

const inHost: readonly Change[] = [
  // By a rule, which only netd of the host scope has.
  {
    what: 'a forward by rule and none',
    there: ({ client }) =>
      client.forward.add({ ...guest, forward: { ...listening, address: '0.0.0.0', to: 22 } }),
    back: ({ client }) => client.forward.remove({ ...guest, ...listening, address: '0.0.0.0' }),
  },
  nat,
  up,
];

describe.each([
  ['private', 'user', inPrivate],
  ['host', 'root', inHost],
] as const)('the core is killed at each step, in the %s scope', (scope, who, changes) => {
  let mortal: MortalCore;
  let before: Awaited<ReturnType<typeof kernelState>>;
  let qemu: number | null;
  let line: SerialLine;

  beforeAll(async () => {
    mortal = new MortalCore(who, lab);
    before = await kernelState(mortal.world);
    await mortal.start();
    await mortal.client.lab.open({ file: mortal.file });
    await mortal.up(scope);
    qemu = mortal.guest?.pid ?? null;
    expect(qemu).not.toBeNull();
    ({ line } = mortal);
    await reachesWan(line, 'in the beginning');
  });
  afterAll(() => mortal?.close());

  test.each(changes)('of $what', { timeout: 300_000 }, async ({ what, there, back, cuts }) => {
    // Undisturbed, there and back: what is known to be right.
    const pictures: Json[] = [await mortal.picture()];
    const files = [mortal.read()];
    const ways = [there, back] as const;
    for (const way of ways) {
      await way(mortal, mortal.hash());
      await mortal.up();
      pictures.push(await mortal.picture());
      files.push(mortal.read());
    }
    expect({ picture: pictures[2], file: files[2] }).toEqual({ picture: pictures[0], file: files[0] });

    let state = 0;
    const points = [0, 0];
    const over = [false, false];
    while (!over.every(Boolean)) {
      const at = (points[state] ?? 0) + 1;
      const point = await mortal.killedAt(over[state] ? Infinity : at, ways[state] ?? there);
      if (point === undefined) over[state] = true;
      else points[state] = at;
      const now = files.indexOf(mortal.read());
      expect(now, `${point}: the file is neither the old one nor the new: ${mortal.read()}`).toBeGreaterThan(
        -1,
      );
      if (point === undefined) expect(now).toBe(1 - state);
      state = now;
      if (point === undefined) continue;
      await until(`${point}: without a core the guest has its network`, 30_000, () =>
        line.pings(cuts ? gateway : wanAddress),
      );
      await mortal.start();
      await until(`${point}: the guest is shown`, 20_000, () => mortal.guest?.pid === qemu);
      await until(`${point}: its NICs are shown as they are`, 20_000, async () => {
        const { kernel, shown } = await mortal.taps();
        return kernel.join() === shown.join();
      });
      await mortal.up();
      await expect.poll(() => mortal.picture(), { timeout: 20_000, message: point }).toEqual(pictures[state]);
      expect(mortal.guest?.pid, point).toBe(qemu);
      if (cuts && state === 1) expect(await line.pings(wanAddress), point).toBe(false);
      else await reachesWan(line, point);
    }
    // What a killed core had half written goes with the next write, once it is old enough to be nobody's any more.
    const beside = path.dirname(mortal.file);
    for (const name of readdirSync(beside))
      if (name.endsWith('.tmp')) utimesSync(path.join(beside, name), 0, 0);
    for (const way of ways.slice(state)) {
      await way(mortal, mortal.hash());
      await mortal.up();
    }
    expect(readdirSync(beside)).toEqual(['tapyard.yaml']);
    const [tried, triedBack] = points;
    console.log(`kill -9 of the core in ${what}, ${scope}: ${tried} points there, ${triedBack} back`);
    expect(Math.min(...points)).toBeGreaterThan(2);
  });

  // The same in both scopes.
  if (scope === 'private')
    test('of a guest’s start', { timeout: 300_000 }, async () => {
      for (let at = 1; ; at++) {
        await mortal.client.guest.forceOff(guest);
        await until('it is off', 20_000, () => mortal.qemus().length === 0);
        const point = await mortal.killedAt(at, ({ client }) => client.guest.start(guest));
        if (point === undefined) {
          console.log(`kill -9 of the core in a guest’s start: ${at - 1} points`);
          expect(at).toBeGreaterThan(6);
          return;
        }
        await mortal.start();
        const row = await until(`${point}: the guest is shown`, 20_000, () => mortal.guest);
        await expect
          .poll(() => mortal.qemus(), { timeout: 20_000, message: point })
          .toEqual(row.pid === null ? [] : [row.pid]);
        const { kernel, shown } = await mortal.taps();
        expect(shown, point).toEqual(kernel);
      }
    });

  test('down leaves nothing', async () => {
    await mortal.down();
    await until('nothing but the core runs', 20_000, () => mortal.world.processes().length <= 1);
    expect(await kernelState(mortal.world)).toEqual(before);
    expect(mortal.world.leftFiles(who).filter((left) => left.includes('labs'))).toEqual([]);
  });
});
