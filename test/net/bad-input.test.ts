// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { World } from '../world/world.ts';

/*
 * Bad input, each with its own clear error and no trace left. The error's first line says what is wrong with
 * what; a problem of the lab file is told as FILE:LINE:COLUMN.
 */

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
beforeAll(async () => {
  world = World.create();
  // A second address of the uplink's, in a range that a lab may have.
  await world.must(['ip', 'addr', 'add', '10.9.0.2/24', 'dev', 'eth0'], { as: 'root' });
  before = await kernelState(world);
});
afterAll(() => world?.close());

const network = 'networks:\n  br0: { subnet: 192.168.57.0/24 }\n';
const guest = (name: string, more = ''): string =>
  `guests:\n  ${name}:\n    image: micro\n    nics: [{ network: br0${more} }]\n`;

async function refused(text: string, ...said: (RegExp | string)[]): Promise<void> {
  const file = world.file('tapyard.yaml', text);
  const up = await world.tapyard(['up', file]);
  expect(up.code, up.stdout + up.stderr).toBe(1);
  for (const words of said) expect(up.stderr).toMatch(words);
  await nothingLeft();
}

async function nothingLeft(): Promise<void> {
  expect(world.processes()).toEqual([]);
  expect(await kernelState(world)).toEqual(before);
  expect(world.leftFiles().filter((left) => !/\/tapyard(\/core\.lock)?$/.test(left))).toEqual([]);
}

describe('the lab file', () => {
  test('an unknown key', () =>
    refused(
      `name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24, nta: true }\n`,
      /tapyard\.yaml:3:35/,
      /nta/,
      /nat/,
    ));
  test('a wrong type', () =>
    refused(
      `name: seed\n${network}guests:\n  guest: { image: micro, cpus: two }\n`,
      /tapyard\.yaml:5:32/,
      /cpus/,
      /number/,
    ));
  test('a subnet that overlaps another', () =>
    refused(
      `name: seed\nnetworks:\n  br0: { subnet: 192.168.56.0/22 }\n  br1: { subnet: 192.168.57.0/24 }\n`,
      /tapyard\.yaml:4:\d+/,
      /br0/,
      /overlap/,
    ));
  test('a subnet that overlaps the uplink', () =>
    refused(
      `name: seed\nnetworks:\n  br0: { subnet: 10.9.0.128/25 }\n${guest('guest')}`,
      /10\.9\.0\.128\/25 of br0 overlaps 10\.9\.0\.2\/24 of the uplink eth0/,
      /\[SUBNET_OVERLAP\]/,
    ));
  test('a subnet of the internet', () =>
    refused(
      `name: seed\nnetworks:\n  br0: { subnet: 203.0.113.0/24 }\n${guest('guest')}`,
      /tapyard\.yaml:3:\d+/,
      /203\.0\.113\.0\/24/,
      /192\.168/,
    ));
  test('an address outside its subnet', () =>
    refused(
      `name: seed\n${network}${guest('guest', ', address: 192.168.58.2')}`,
      /tapyard\.yaml:7:\d+/,
      /192\.168\.58\.2/,
      /192\.168\.57\.0\/24/,
    ));
  test('two guests with one name', () =>
    refused(
      `name: seed\n${network}guests:\n  web: { image: micro }\n  web: { image: micro }\n`,
      /tapyard\.yaml:6:3/,
      /web/,
    ));
  test('a name of 64 characters', () =>
    refused(`name: seed\n${network}${guest('a'.repeat(64))}`, /tapyard\.yaml:5:3/, /63/));
  for (const [what, name] of [
    ['../', '"../../etc"'],
    ['a newline', '"we\\nb"'],
    ['$(id)', '"$(id)"'],
  ] as const) {
    test(`${what} in a name`, () =>
      refused(`name: seed\n${network}${guest(name)}`, /tapyard\.yaml:5:3/, /guests/));
    test(`${what} in the lab's name`, () =>
      refused(`name: ${name}\n${network}`, /tapyard\.yaml:1:7/, /name/));
    test(`${what} in a network's name`, () =>
      refused(
        `name: seed\nnetworks:\n  ${name}: { subnet: 192.168.57.0/24 }\n`,
        /tapyard\.yaml:3:3/,
        /networks/,
      ));
  }
  test('a missing image', () =>
    refused(`name: seed\n${network}guests:\n  guest: { image: ./no-such.qcow2 }\n`, /no-such\.qcow2/));
  test('not YAML at all', () => refused('name: [seed\n', /tapyard\.yaml:\d+:\d+/));
  test('no file at all', async () => {
    const up = await world.tapyard(['up', `${world.home('user')}/nowhere.yaml`]);
    expect(up.code).toBe(1);
    expect(up.stderr).toContain('nowhere.yaml');
    await nothingLeft();
  });
});

describe('the machine', () => {
  const good = (): string => world.file('tapyard.yaml', `name: seed\n${network}${guest('guest')}`);

  test('a runtime directory whose sockets would be over 107 bytes', async () => {
    const long = `${world.dir}/run/${'d'.repeat(90)}`;
    await world.must(['mkdir', '-m', '700', long]);
    const up = await world.tapyard(['up', good()], { env: { XDG_RUNTIME_DIR: long } });
    expect(up.code).toBe(1);
    expect(up.stderr).toMatch(/107|108/);
    expect(up.stderr).toContain(long);
    await world.must(['rm', '-r', long]);
    await nothingLeft();
  });

  test('QEMU missing', async () => {
    const bin = `${world.home('user')}/bin`;
    await world.must([
      'sh',
      '-c',
      `mkdir -p ${bin} && ln -sf ${process.execPath} /usr/bin/flock /usr/bin/env /bin/sh ${bin}/`,
    ]);
    const up = await world.run(['/usr/bin/env', `PATH=${bin}`, ...world.tapyardCommand(['up', good()])]);
    expect(up.code).toBe(1);
    expect(up.stderr).toContain('qemu-system-x86');
    await nothingLeft();
  });

  test('/dev/net/tun unreadable', async () => {
    const command = world
      .tapyardCommand(['up', good()])
      .map((word) => `'${word}'`)
      .join(' ');
    const up = await world.run(
      [
        'sh',
        '-c',
        `mkdir /mnt/dev && mknod -m 0600 /mnt/dev/tun c 10 200 && mount --bind /mnt/dev/tun /dev/net/tun && HOME=${world.home('user')} XDG_RUNTIME_DIR=${world.runtimeDir('user')} exec setpriv --reuid ${world.uid} --regid ${world.uid} --clear-groups ${command}`,
      ],
      { as: 'root' },
    );
    expect(up.code, up.stderr).toBe(1);
    expect(up.stderr).toContain('/dev/net/tun');
    await nothingLeft();
  });

  test('pasta missing: the lab comes up without an uplink and says so', async () => {
    const command = world
      .tapyardCommand(['up', good()])
      .map((word) => `'${word}'`)
      .join(' ');
    const up = await world.run(
      [
        'sh',
        '-c',
        `for p in /usr/bin/pasta /usr/bin/pasta.avx2; do test -e $p && mount --bind /dev/null $(readlink -f $p); done; HOME=${world.home('user')} XDG_RUNTIME_DIR=${world.runtimeDir('user')} exec setpriv --reuid ${world.uid} --regid ${world.uid} --clear-groups ${command}`,
      ],
      { as: 'root', timeout: 90_000 },
    );
    expect(up.code, up.stderr).toBe(0);
    expect(up.stderr).toMatch(/no uplink: .*pasta.* \[PASTA_MISSING\]/);
    expect((await world.tapyard(['topology'])).stdout).toMatch(/pasta/);
    expect((await world.tapyard(['down', '--force'])).code).toBe(0);
    await nothingLeft();
  });

  test('a pipe instead of a terminal, an unknown command, an unknown option: usage, exit 2', async () => {
    for (const args of [
      ['uo'],
      ['up', '--scoop', 'private'],
      ['nat', 'br0', 'maybe'],
      ['up', '--scope', 'public'],
    ]) {
      const done = await world.tapyard(args);
      expect({ args, code: done.code }).toEqual({ args, code: 2 });
      expect(done.stderr).toMatch(/tapyard: /);
    }
  });
});
