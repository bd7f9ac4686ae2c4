// SPDX-License-Identifier: Apache-2.0
import { statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { ended, until, World } from '../world/world.ts';

/* What `npm start` does after the set-up, on a terminal and without a display. */

let world: World;
beforeAll(() => {
  world = World.create();
});
afterAll(() => world?.close());

/** `tapyard open --demo` on a terminal of its own, as script(1) makes one: what it says, and a way to type. */
class Opened {
  text = '';
  readonly #child = world.start(
    ['script', '-qefc', `exec ${world.tapyardCommand(['open', '--demo']).join(' ')}`, '/dev/null'],
    {
      env: { npm_lifecycle_event: 'start' },
    },
  );

  constructor() {
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.text += text));
  }

  async says(words: RegExp): Promise<string> {
    return until(`it says ${words.source}`, 60_000, () => words.exec(this.text)?.[0]).catch(() => {
      throw new Error(`It does not say ${words.source}, but:\n${this.text}`);
    });
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  async code(): Promise<number | null> {
    await ended(this.#child, 'open --demo', 60_000);
    return this.#child.exitCode;
  }
}

const ctrlC = '\u0003';
const guest = (): number | undefined =>
  world.processes().find(({ command }) => command.includes('qemu-system') && command.includes('seed'))?.pid;

const minutes = { timeout: 240_000 };
test(
  'open says which way and why; Ctrl+C offers to keep the guests or to bring all down',
  minutes,
  async () => {
    const before = await kernelState(world);
    const first = new Opened();
    await first.says(
      /No desktop window: there is no display \(neither WAYLAND_DISPLAY nor DISPLAY is set\)\./,
    );
    await first.says(/http:\/\/tapyard-[a-z0-9]+\.localhost:\d+\/\S*/);
    // The files of this that docs/on-disk.md names.
    const demo = path.join(world.home('user'), '.local/share/tapyard/labs/seed.yaml');
    const { mode, uid } = statSync(demo);
    expect([(mode & 0o7777).toString(8), uid]).toEqual(['644', world.uid]);
    const pid = guest();
    expect(pid).toBeDefined();
    first.type(ctrlC);
    await first.says(/Keep seed running\? \[Y\/n\] /);
    first.type('y\r');
    await first.says(/Guests keep running: seed\. To bring a lab down: npm run -s tapyard -- down/);
    expect(await first.code()).toBe(0);
    expect(guest()).toBe(pid);
    expect((await world.tapyard(['ls'])).stdout).toContain('running');

    // The same guest is found again, and this time it goes.
    const second = new Opened();
    await second.says(/http:\/\/tapyard-/);
    expect(guest()).toBe(pid);
    second.type(ctrlC);
    await second.says(/Keep seed running\? \[Y\/n\] /);
    second.type('n\r');
    await second.says(/Down: seed\./);
    expect(await second.code()).toBe(0);
    await until('nothing runs', 10_000, () => world.processes().length === 0);
    expect(await kernelState(world)).toEqual(before);
  },
);
