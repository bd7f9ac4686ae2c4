// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { type ListedGuest, listGuests } from '../world/listed.ts';
import { checkoutInside, until, World } from '../world/world.ts';

/* NICs that come to a guest that runs, and go: by netd's tap in the kernel, and as the guest itself sees them. */

const lab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }
  br1: { subnet: 192.168.58.0/24 }
guests:
  web:
    image: micro
    memory: 192M
    nics: [{ network: br0, address: 192.168.57.2 }] # one leg
`;

/** They take some ten seconds; a busy machine may need far more. */
const slow = { timeout: 150_000 };

let world: World;
let file: string;
beforeAll(async () => {
  world = World.create();
  file = world.file('tapyard.yaml', lab);
  const up = await world.tapyard(['up', file], { timeout: 90_000 });
  expect(up, up.stderr).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await world?.tapyard(['down', '--force']);
  world?.close();
});

const Links = z.array(
  z.looseObject({ ifname: z.string(), ifalias: z.string().optional(), master: z.string().optional() }),
);

/** The taps in the lab's namespace with the bridge of each, as its kernel has them. */
async function taps(): Promise<Record<string, string | undefined>> {
  const inside = world.processes().find(({ command }) => /(^|\/)dnsmasq /.test(command));
  if (inside === undefined) throw new Error('no dnsmasq, whose namespace is the lab’s');
  const listing = [
    'nsenter',
    '-t',
    String(inside.pid),
    '-n',
    'ip',
    '-j',
    '-d',
    'link',
    'show',
    'type',
    'tun',
  ];
  const links = Links.parse(JSON.parse(await world.must(listing, { as: 'root' })));
  const ours = links.filter(({ ifalias }) => ifalias?.startsWith('tapyard:'));
  return Object.fromEntries(ours.map(({ ifname, master }) => [ifname, master]));
}

const nics = async (): Promise<ListedGuest['nics']> => (await listGuests(world))[0]?.nics ?? [];

async function tapyard(...words: string[]): Promise<string> {
  const done = await world.tapyard(words);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done.stdout;
}

const Refusal = z.looseObject({ error: z.looseObject({ code: z.string(), message: z.string() }) });

async function refusal(...words: string[]): Promise<z.infer<typeof Refusal>['error']> {
  const done = await world.tapyard([...words, '--json']);
  expect(done, done.stdout).toMatchObject({ code: 1 });
  return Refusal.parse(JSON.parse(done.stdout)).error;
}

const refused = async (...words: string[]): Promise<string> => (await refusal(...words)).code;

async function inGuest<T>(look: (shell: GuestShell) => Promise<T>): Promise<T> {
  const shell = await GuestShell.open(world, 'web');
  try {
    return await look(shell);
  } finally {
    await shell.close();
  }
}

test('a NIC comes to a guest that runs, with its reserved address, and goes again', slow, async () => {
  expect(await tapyard('plug', 'web', 'br1', '--address', '192.168.58.7')).toMatch(
    /^eth1 of web is plugged into br1 \(tap1\), MAC 52:54:00:.*, address 192\.168\.58\.7\.\n$/,
  );
  expect(await taps()).toEqual({ tap0: 'br0', tap1: 'br1' });
  expect(readFileSync(file, 'utf8')).toContain(
    'nics: [{ network: br0, address: 192.168.57.2 }, { network: br1, address: 192.168.58.7 }] # one leg',
  );
  await inGuest(async (shell) => {
    await until('eth1 has its reserved address', 40_000, async () =>
      (await shell.run('ip addr show dev eth1')).output.includes('192.168.58.7/24'),
    );
    await until('the gateway of br1 answers', 20_000, () => shell.pings('192.168.58.1'));
  });
  // Each command has a core of its own here: the next one knows the NIC, and that it has a lease.
  expect((await nics())[1]).toMatchObject({ network: 'br1', tap: 'tap1', address: '192.168.58.7' });
  expect(await tapyard('recipe')).toContain('tap1 is plugged into web as eth1');

  expect(await tapyard('unplug', 'web', '1')).toBe('eth1 of web is gone.\n');
  expect(await taps()).toEqual({ tap0: 'br0' });
  expect(readFileSync(file, 'utf8')).toBe(lab);
  await inGuest(async (shell) => {
    expect((await shell.run('ls /sys/class/net')).output).not.toContain('eth1');
    expect(await shell.pings('192.168.57.1')).toBe(true);
  });
});

test(
  'the first NIC goes as well, the others stay what they are, and a start takes them over',
  slow,
  async () => {
    await tapyard('plug', 'web', 'br1', '--address', '192.168.58.8', '--mac', '52:54:00:58:00:08');
    await tapyard('unplug', 'web', '0');
    expect(await taps()).toEqual({ tap1: 'br1' });
    expect(await nics()).toMatchObject([{ network: 'br1', mac: '52:54:00:58:00:08', tap: 'tap1' }]);
    // What is cut is the cable of the NIC that is counted first now.
    await tapyard('link', 'web', 'down', '0');
    await tapyard('link', 'web', 'up', '0');
    await tapyard('plug', 'web', 'br0', '--address', '192.168.57.3');
    expect(await taps()).toEqual({ tap0: 'br0', tap1: 'br1' });

    await tapyard('force-off', 'web');
    await tapyard('start', 'web');
    expect(await taps()).toEqual({ tap0: 'br1', tap1: 'br0' });
    await inGuest(async (shell) => {
      await until('both have their addresses', 60_000, async () => {
        const { output } = await shell.run('ip addr');
        return output.includes('192.168.58.8/24') && output.includes('192.168.57.3/24');
      });
    });
    await tapyard('unplug', 'web', '0');
    expect(await taps()).toEqual({ tap1: 'br0' });
  },
);

test('what cannot be is told by its code, and nothing changes', async () => {
  const before = readFileSync(file, 'utf8');
  expect(await refused('plug', 'web', 'br7')).toBe('NO_SUCH_NETWORK');
  expect(await refused('plug', 'mail', 'br1')).toBe('NO_SUCH_GUEST');
  expect(await refused('plug', 'web', 'br0', '--address', '192.168.57.3')).toBe('LAB_FILE_INVALID');
  expect(await refused('unplug', 'web', '5')).toBe('NO_SUCH_NIC');
  await tapyard('pause', 'web');
  expect(await refused('plug', 'web', 'br1')).toBe('GUEST_STATE');
  expect(await refused('unplug', 'web', '0')).toBe('GUEST_STATE');
  await tapyard('resume', 'web');
  expect(readFileSync(file, 'utf8')).toBe(before);
  expect(await taps()).toEqual({ tap1: 'br0' });
});

test('a core that was killed between tap and device leaves nothing', async () => {
  const runtime = `${world.runtimeDir('user')}/tapyard/labs/seed`;
  const words = ['--netd', `${runtime}/netd/netd.sock`, '--qmp', `${runtime}/guests/web/nic.sock`];
  const nic = ['--nic', '0', '--network', 'br1', '--mac', '52:54:00:58:00:09', '--tap', 'tap5'];
  const tap = `${checkoutInside}/native/target/release/tapyard-tap`;
  // What the core does up to there.
  await world.must([tap, 'plug', '--lab', 'seed', '--guest', 'web', ...words, ...nic]);
  expect(await taps()).toEqual({ tap1: 'br0', tap5: 'br1' });
  expect(await nics()).toHaveLength(1);
  expect(await taps()).toEqual({ tap1: 'br0' });
});

test('up plugs what the file got and unplugs what it lost', slow, async () => {
  const two = readFileSync(file, 'utf8').replace(
    'nics: [',
    'nics: [{ network: br1, address: 192.168.58.9 }, ',
  );
  world.file('tapyard.yaml', two);
  await tapyard('up', file);
  expect(new Set(Object.values(await taps()))).toEqual(new Set(['br0', 'br1']));
  await inGuest(async (shell) => {
    expect((await shell.run('ip addr')).output).toContain('192.168.58.9/24');
  });
  world.file('tapyard.yaml', lab);
  // Until then it is shown as what the file has not.
  const tap = Object.entries(await taps()).find(([, bridge]) => bridge === 'br1')?.[0];
  expect(await tapyard('ls')).toContain(`br1/${tap} (not in the lab file)`);
  expect(await tapyard('topology')).toContain(`${tap} ── web (not in the lab file)`);
  await tapyard('up', file);
  expect(Object.values(await taps())).toEqual(['br0']);
  expect(await tapyard('ls')).not.toContain('not in the lab file');
});

test('a guest that does not answer keeps the NIC, and lets it go when it is asked again', slow, async () => {
  const before = { taps: await taps(), nics: await nics(), file: readFileSync(file, 'utf8') };
  const mac = before.nics[0]?.mac;
  // QEMU tells a guest of a port by this event of ACPI; a guest that still boots does not hear it either.
  const hear = (...words: readonly string[]) =>
    `cd /sys/firmware/acpi/interrupts; for w in ${words.join(' ')}; do echo $w >gpe01; done; cat gpe01`;
  await inGuest(async (shell) => {
    expect((await shell.run(hear('disable'))).output).toContain(' disabled');
  });
  const asked = performance.now();
  expect(await refusal('unplug', 'web', '0')).toMatchObject({
    code: 'NIC_NOT_RELEASED',
    message: `seed/web did not let go of the NIC ${mac} on br0 within 10 s, and keeps it.`,
    subject: 'seed/web',
  });
  expect(performance.now() - asked, 'it was given its time').toBeGreaterThan(10_000);
  expect({ taps: await taps(), nics: await nics(), file: readFileSync(file, 'utf8') }).toEqual(before);

  await inGuest(async (shell) => {
    await until('the gateway of br0 answers', 40_000, () => shell.pings('192.168.57.1'));
    // What was told meanwhile is lost.
    expect((await shell.run(hear('clear', 'enable'))).output).toContain(' enabled');
  });
  expect(await tapyard('unplug', 'web', '0')).toBe('eth0 of web is gone.\n');
  expect({ taps: await taps(), nics: await nics() }).toEqual({ taps: {}, nics: [] });
});
