// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { checkout, checkoutInside, finish, until, type World } from './world.ts';

/**
 * Starts a script of test/world in a mount namespace on the world's host. It gets packages that set-up unpacked, and
 * `args`; it says "ready" and waits. Answers its number, which nsenter knows.
 */
export async function mountedBy(
  world: World,
  script: string,
  packages: string,
  ...args: readonly string[]
): Promise<string> {
  if (!existsSync(path.join(checkout, packages))) {
    throw new Error(
      `${packages} is not unpacked: npm test and npm run bench do it, or npm run setup -- --for test.`,
    );
  }
  const command = [`${checkoutInside}/test/world/${script}`, `${checkoutInside}/${packages}`, ...args];
  const child = world.start(['sh', '-c', `echo $$; exec ${command.join(' ')}`], { as: 'root' });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(`${script} is ready`, 10_000, () => {
    if (child.exitCode !== null) throw new Error(`${script}: ${said}`);
    return said.includes('ready');
  });
  return said.split('\n')[0] ?? '';
}

/** Where programs run that only a mount namespace on the host of a world has: it, and its root directory. */
export class MountedPlace {
  protected readonly world: World;
  readonly #pid: string;

  constructor(world: World, pid: string) {
    this.world = world;
    this.#pid = pid;
  }

  /** The command as it is run on the host, there. */
  readonly inside = (command: readonly string[]): string[] => [
    'nsenter',
    '-t',
    this.#pid,
    '-m',
    '-n',
    '-r',
    '--',
    ...command,
  ];

  /** The same beside it: with this machine's own root directory, in which the place has its system bus. */
  readonly beside = (command: readonly string[]): string[] => [
    'nsenter',
    '-t',
    this.#pid,
    '-m',
    '-n',
    '--',
    ...command,
  ];

  /** Runs a script there; throws when it fails. */
  sh(script: string): Promise<string> {
    return this.world.must(this.inside(['sh', '-ec', script]), { as: 'root' });
  }

  /** Starts a program that stays, and answers how to end it (SIGTERM, as its service would be). */
  async daemon(command: string, ready: string): Promise<() => Promise<void>> {
    // The number in this process namespace is the one that the world's kill knows.
    const child = this.world.start(this.inside(['sh', '-c', `exec ${command} 2>&1`]), { as: 'root' });
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
    const ended = finish(child, command, { timeout: 300_000 });
    ended.catch(() => undefined);
    await until(`${command} is ready`, 40_000, async () => {
      if (child.exitCode !== null) throw new Error(`${command} ended: ${said}`);
      return (await this.world.run(this.inside(['sh', '-c', ready]), { as: 'root' })).code === 0;
    });
    return async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    };
  }
}
