// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabRow } from '../../electron/contract/rows.ts';
import { type Json, kernelState } from '../world/kernel.ts';
import { until } from '../world/world.ts';
import { faultEvery, forwardedPort, MortalCore, reachesWan, type Way } from './mortal-core.ts';

/*
 * kill -9 of the core at each step of what ends a guest: `down` and the move to the other scope. A guest that it has
 * not come to yet has its network all the while, and `up` keeps it; where the guest is gone, `up` starts it again,
 * and it has its network. Nothing is left in the scope that the lab is not in.
 */

const lab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }
guests:
  web:
    image: micro
    memory: 192M
    nics: [{ network: br0, address: 192.168.57.2 }]
    forwards: [{ port: ${forwardedPort}, to: 22 }]
`;

/** What is said to QEMU to end a guest: before it the guest lives, after it no more. */
const ends = /^(quit|system_powerdown)/;

let mortal: MortalCore;
let before: Awaited<ReturnType<typeof kernelState>>;

async function begin(scope: LabRow['scope'], who: 'user' | 'root'): Promise<void> {
  mortal = new MortalCore(who, lab);
  before = await kernelState(mortal.world);
  await mortal.start();
  await mortal.client.lab.open({ file: mortal.file });
  await mortal.up(scope);
  await reachesWan(mortal.line, 'in the beginning');
}

/** The guest's QEMU is the only one, and it reaches the internet; which it is. */
async function living(when: string): Promise<number | null> {
  const pid = mortal.guest?.pid ?? null;
  expect(mortal.qemus(), when).toEqual([pid]);
  await reachesWan(mortal.line, when);
  return pid;
}

/** Points of one way to end a guest. */
class Course {
  /** The last one tried. */
  at = 0;
  tried = 0;
  /** At so many the guest lived. */
  lived = 0;
  isOver = false;
  isEnding = false;
  readonly #every: number;

  /** One of so many points is tried once the guest has to be started anew after each. */
  constructor(every: number) {
    this.#every = faultEvery(every);
  }

  /** Kills the core at the next point, which the guest outlives, or not; none where there are no more. */
  async kill(way: Way): Promise<string | undefined> {
    const next = this.isOver ? Infinity : this.at + (this.isEnding ? this.#every : 1);
    const { line } = mortal;
    const qemu = await living(`before point ${next}`);
    const point = await mortal.killedAt(next, way);
    if (point === undefined) {
      this.isOver = true;
      return undefined;
    }
    this.at = next;
    this.tried += 1;
    if (this.isEnding) {
      await mortal.start();
      await mortal.up();
      await living(point);
      return point;
    }
    this.lived += 1;
    await reachesWan(line, `${point}, without a core`);
    await mortal.start();
    await mortal.up();
    expect(await living(point), point).toBe(qemu);
    this.isEnding = ends.test(point);
    return point;
  }

  get words(): string {
    return `${this.tried} points of at least ${this.at}, the guest lived at ${this.lived}`;
  }
}

async function leavesNothing(who: 'user' | 'root'): Promise<void> {
  await until('nothing but the core runs', 20_000, () => mortal.world.processes().length <= 1);
  expect(await kernelState(mortal.world)).toEqual(before);
  expect(mortal.world.leftFiles(who).filter((left) => /labs|netd/.test(left))).toEqual([]);
}

// That of the host scope is a part of the move from there.
describe('the core is killed at the steps of down', () => {
  beforeAll(() => begin('private', 'user'));
  afterAll(() => mortal?.close());

  test('up makes it whole again', { timeout: 1_200_000 }, async () => {
    const whole = await mortal.picture();
    const course = new Course(6);
    for (;;) {
      const point = await course.kill((core) => core.down());
      if (point === undefined) break;
      await expect.poll(() => mortal.picture(), { timeout: 20_000, message: point }).toEqual(whole);
    }
    console.log(`kill -9 of the core in down: ${course.words}`);
    expect(course.lived).toBeGreaterThan(2);
    expect(course.tried).toBeGreaterThan(course.lived);
    await leavesNothing('user');
  });
});

describe('the core is killed at the steps of the move between the scopes', () => {
  beforeAll(() => begin('private', 'root'));
  afterAll(() => mortal?.close());

  const to =
    (scope: LabRow['scope']): Way =>
    async (core) =>
      core.done(await core.client.lab.move({ lab: 'seed', scope, waitReachable: 60_000 }));

  test('up makes it whole where the lab is', { timeout: 2_400_000 }, async () => {
    const whole: Partial<Record<LabRow['scope'], Json>> = { private: await mortal.picture() };
    await to('host')(mortal, '');
    await mortal.up();
    whole.host = await mortal.picture();
    await to('private')(mortal, '');
    await mortal.up();
    expect(await mortal.picture()).toEqual(whole.private);

    const courses = { private: new Course(12), host: new Course(12) };
    while (!courses.private.isOver || !courses.host.isOver) {
      const from = mortal.scope ?? 'private';
      const course = courses[from];
      const isEnding = course.isEnding;
      const killed = await course.kill(to(from === 'private' ? 'host' : 'private'));
      const point = killed ?? 'undisturbed';
      if (!isEnding && killed !== undefined) expect(mortal.scope, point).toBe(from);
      await expect
        .poll(() => mortal.picture(), { timeout: 20_000, message: point })
        .toEqual(whole[mortal.scope ?? 'private']);
      if (mortal.scope === 'private') expect(await kernelState(mortal.world), point).toEqual(before);
    }
    console.log(`kill -9 of the core in the move to the host scope: ${courses.private.words}`);
    console.log(`kill -9 of the core in the move to the private scope: ${courses.host.words}`);
    for (const { lived, tried } of Object.values(courses)) {
      expect(lived).toBeGreaterThan(2);
      expect(tried).toBeGreaterThan(lived);
    }
    await mortal.down();
    await leavesNothing('root');
  });
});
