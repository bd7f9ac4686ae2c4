// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mainJob } from '../guest/main-job.ts';
import { newerPasta } from '../world/debian-13.ts';
import { PortGuest } from '../world/host-lab.ts';
import { keeperOf, killNetd, pastaOf } from '../world/keeper.ts';
import { checkout, until, World } from '../world/world.ts';

/* A private lab over the pasta of Debian 13, of 2025: most people have one that is newer than Debian 12's. */

const over = newerPasta;

describe('the main job as an ordinary user, in the private scope', () => mainJob('private', { over }));

describe('the way out', () => {
  let world: World;
  let guest: PortGuest;
  let file: string;

  beforeEach(async () => {
    world = World.create({ over });
    await world.serveWan();
    const way6 = 'ip addr add 2001:db8::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8::1';
    await world.must(['sh', '-ec', way6], { as: 'root' });
    const network = "networks:\n  br0: { subnet: 192.168.57.0/24, ipv6: 'fd12:3456:789a:1::/64' }\n";
    file = world.file('tapyard.yaml', `name: seed\n${network}`);
    await world.serve();
    await world.must(world.tapyardCommand(['up', file]));
    const inside = ['nsenter', '-t', String(keeperOf(world)), '-n', '--'];
    guest = await PortGuest.start(world, '192.168.57.50', (command) => [...inside, ...command]);
  });
  afterEach(() => world?.close());

  async function getsThrough(): Promise<void> {
    await guest.getsThrough();
    await guest.getsThroughByIpv6();
  }

  const state = (pid: number): string | undefined =>
    /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];

  /** The number of the pasta that runs, which is Debian 13's. */
  function pasta(): number {
    const pid = pastaOf(world);
    if (pid === undefined) throw new Error('no pasta runs');
    const ours = ['pasta', 'pasta.avx2'].map((name) =>
      readFileSync(path.join(checkout, over, 'usr/bin', name)),
    );
    const running = readFileSync(`/proc/${pid}/exe`);
    expect(ours.some((program) => program.equals(running))).toBe(true);
    return pid;
  }

  test('by both families; it is named, paused, taken over and healed', async () => {
    expect((await world.tapyard(['check'])).stdout).toMatch(/pasta 0\.0~git2025/);
    await getsThrough();
    const first = pasta();

    await world.must(world.tapyardCommand(['nat', 'br0', 'off']));
    await until('pasta is stopped', 20_000, () => state(first) === 'T');
    expect(Object.values(await guest.reaches())).not.toContain(true);
    expect(Object.values(await guest.reaches('2001:db8::1'))).not.toContain(true);
    await world.must(world.tapyardCommand(['nat', 'br0', 'on']));
    await getsThrough();
    expect(pasta()).toBe(first);

    // A netd that was killed leaves it running, and the next one takes it over.
    await killNetd(world);
    await world.must(world.tapyardCommand(['up', file]));
    await getsThrough();
    expect(pasta()).toBe(first);

    process.kill(first, 'SIGKILL');
    await until('another pasta runs', 30_000, () => ![first, undefined].includes(pastaOf(world)));
    await getsThrough();
    expect(pasta()).not.toBe(first);

    await world.must(world.tapyardCommand(['down']));
    await until('no pasta is left', 20_000, () =>
      world.processes().every(({ command }) => !command.startsWith('pasta ')),
    );
  });
});
