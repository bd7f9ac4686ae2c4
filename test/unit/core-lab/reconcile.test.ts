// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, it } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { GuestState } from '../../../electron/contract/rows.ts';
import type { HeldTap } from '../../../electron/core/guest/spec.ts';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import { planUp } from '../../../electron/core/lab/plan.ts';
import { bringDown, bringUp, type Ground } from '../../../electron/core/lab/reconcile.ts';
import { isOwn, type ResolvedLab, resolveLab } from '../../../electron/core/lab/resolve.ts';
import type { NetdLink, NetdNetwork, NetdUplink } from '../../../electron/core/net/netd-protocol.ts';
import { networkRows, type Picture, withEvent } from '../../../electron/core/net/picture.ts';

function lab(text: string): ResolvedLab {
  const { definition, problems } = readLabFile(new TextEncoder().encode(text));
  if (!definition) throw new Error(JSON.stringify(problems));
  return resolveLab(definition);
}

const seed = lab(`name: seed
networks: { br0: { subnet: 192.168.57.0/24 }, br1: { subnet: 10.0.0.0/24, nat: false } }
guests:
  a: { image: micro, nics: [{ network: br0, address: 192.168.57.2 }] }
  b: { image: micro, nics: [{ network: br1 }] }
`);

/** The taps of a guest that was started as the file says. */
const heldBy = (name: string): HeldTap[] =>
  (seed.guests.find((guest) => guest.name === name)?.nics ?? []).map(({ index, network, mac, tap }) => ({
    nic: index,
    network,
    mac,
    tap,
    ifindex: 7,
    fd: 10,
    steps: [],
  }));

const uplink: NetdUplink = {
  provider: 'pasta',
  device: 'up0',
  host_device: 'eth0',
  addresses: ['203.0.113.2/24', 'fe80::1/64'],
  gateway: '203.0.113.1',
  forwarding: true,
  pid: 7,
  reason: null,
};
const empty: Picture = { links: new Map(), networks: new Map(), uplink };

/** The picture with a network of the lab just as it is wanted. */
function made(
  picture: Picture,
  name: string,
  change: Partial<NetdNetwork & { link: Partial<NetdLink> }> = {},
): Picture {
  const network = seed.networks.find((each) => each.name === name);
  if (!network) throw new Error(name);
  const { link, ...more } = change;
  const ifindex = 10 + seed.networks.indexOf(network);
  if (!isOwn(network)) throw new Error(`${name} has no bridge of its own`);
  const { mode, subnet, address, mac, mtu, nat, antispoof } = network;
  const dns = network.dhcp && { pid: 99, from: network.dhcp.from, to: network.dhcp.to };
  const put = {
    lab: 'seed',
    name,
    bridge: ifindex,
    mode,
    subnet,
    address,
    mac,
    mtu,
    nat,
    antispoof,
    filter: true,
    forwarding: true,
    doors: [],
    exposed: [],
    dns,
    leases: [],
    ...more,
  };
  const bridge = {
    ifindex,
    name,
    kind: 'bridge',
    master: null,
    up: true,
    carrier: true,
    operstate: 'up',
    mac,
    mtu,
    alias: '',
    addresses: [`${address}/${network.prefix}`],
    ours: { lab: 'seed', network: name },
    ...link,
  };
  return withEvent(withEvent(picture, { event: 'links', put: [bridge], del: [] }), {
    event: 'networks',
    put: [put],
    del: [],
  });
}

describe('the plan', () => {
  const applied = new Map(seed.networks.map((network) => [network.name, network]));
  const off = new Map<string, GuestState>();
  const kinds = (picture: Picture | null, states = off, known = applied, taps = heldBy): string[] => {
    const guests = new Map([...states].map(([name, state]) => [name, { state, taps: taps(name) }]));
    return planUp(seed, { picture, guests, applied: known }).map((step) => {
      switch (step.kind) {
        case 'remove':
          return `remove ${step.network}`;
        case 'apply':
          return `${step.isNew ? 'make' : 'mend'} ${step.network.name}`;
        case 'start':
          return `start ${step.guest.name}`;
        case 'plug':
          return `plug ${step.guest} ${step.nic.network}`;
        case 'unplug':
          return `unplug ${step.guest} ${step.tap.network}`;
        case 'shape':
          return `shape ${step.guest} ${step.network} ${step.to.rate}`;
      }
    });
  };
  const both = made(made(empty, 'br0'), 'br1');

  it('does everything where nothing is, and nothing where all is', () => {
    expect(kinds(null)).toEqual(['make br0', 'make br1', 'start a', 'start b']);
    expect(
      kinds(
        both,
        new Map([
          ['a', 'running'],
          ['b', 'paused'],
        ] as const),
      ),
    ).toEqual([]);
  });

  it('plugs NICs that a running guest lacks and unplugs those that left the file', () => {
    const running = new Map<string, GuestState>([
      ['a', 'running'],
      ['b', 'paused'],
    ]);
    expect(kinds(both, running, applied, () => [])).toEqual(['plug a br0']);
    const moved = (name: string): HeldTap[] => heldBy(name).map((tap) => ({ ...tap, network: 'br1' }));
    expect(kinds(made(empty, 'br0'), running, applied, moved)).toEqual([
      'unplug a br1',
      'make br1',
      'plug a br0',
    ]);
    // Of a QEMU that an older core started; the network is not known.
    expect(
      kinds(both, running, applied, (name) => heldBy(name).map((tap) => ({ ...tap, network: '' }))),
    ).toEqual([]);
  });

  it('mends exactly what is not as wanted', () => {
    const guests = new Map([
      ['a', 'crashed'],
      ['b', 'shutting down'],
    ] as const);
    expect(kinds(made(both, 'br1', { nat: true }), guests)).toEqual(['mend br1', 'start a']);
    expect(kinds(made(both, 'br1', { mode: 'routed' }), guests)).toEqual(['mend br1', 'start a']);
    expect(kinds(made(both, 'br1', { forwarding: false }), guests)).toEqual(['mend br1', 'start a']);
    for (const change of [
      { bridge: null },
      { filter: false },
      { antispoof: false },
      { forwarding: false },
      { dns: null },
      { link: { up: false } },
      { link: { addresses: [] } },
    ])
      expect(kinds(made(both, 'br0', change), guests)).toEqual(['mend br0', 'start a']);
    expect(kinds(both, guests, new Map())).toEqual(['mend br0', 'mend br1', 'start a']);
  });

  it('removes a network of the lab that left the file, and no other lab’s', () => {
    const br0 = made(empty, 'br0').networks.get('seed/br0');
    if (!br0) throw new Error('no br0');
    const old = { ...br0, name: 'old' };
    const picture = withEvent(both, { event: 'networks', put: [old, { ...old, lab: 'other' }], del: [] });
    expect(kinds(picture)[0]).toBe('remove old');
    expect(kinds(picture)).toHaveLength(3);
    expect(
      networkRows('seed', seed.networks, {}, picture, new Map()).map((row) => [
        row.name,
        row.reason?.code ?? null,
      ]),
    ).toEqual([
      ['br0', null],
      ['br1', null],
      ['old', 'NO_SUCH_NETWORK'],
    ]);
  });
});

class FakeGuest {
  readonly name: string;
  readonly log: string[];
  status: { state: GuestState; pid: number | null; taps: HeldTap[] } = {
    state: 'shut off',
    pid: null,
    taps: [],
  };
  unplugFails: TapyardError | undefined;
  startFails: TapyardError | undefined;

  constructor(name: string, log: string[]) {
    this.name = name;
    this.log = log;
  }

  onChange(): { close(): void } {
    return { close: () => {} };
  }
  async start({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    this.log.push(`start ${this.name}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (signal?.aborted) throw new TapyardError('ABORTED', 'stopped');
    if (this.startFails) throw this.startFails;
    this.status = { state: 'running', pid: 1, taps: heldBy(this.name) };
  }
  async forceOff(): Promise<void> {
    if (this.status.pid === null) return;
    this.log.push(`force ${this.name}`);
    this.status = { state: 'shut off', pid: null, taps: [] };
  }
  async plug({ network, mac }: { network: string; mac: string }): Promise<void> {
    this.log.push(`plug ${this.name} ${network}`);
    const tap = { nic: 9, network, mac, tap: 'tap9', ifindex: 9, fd: null, steps: [] };
    this.status = { ...this.status, taps: [...this.status.taps, tap] };
  }
  async unplug({ network, mac }: { network: string; mac: string }): Promise<void> {
    this.log.push(`unplug ${this.name} ${network}`);
    if (this.unplugFails) throw this.unplugFails;
    this.status = { ...this.status, taps: this.status.taps.filter((tap) => tap.mac !== mac) };
  }
  async stop(ms: number): Promise<void> {
    this.log.push(`stop ${this.name} ${ms}`);
    this.status = { state: 'shut off', pid: null, taps: [] };
  }
}

describe('up and down', () => {
  let log: string[];
  let picture: Picture | null;
  let guests: Map<string, FakeGuest>;
  let ground: Ground;
  let applyFails: string | undefined;
  let lacking: boolean;
  let abort: AbortController;
  const job = (): Parameters<typeof bringUp>[1] => ({
    id: 'j',
    signal: abort.signal,
    progress: () => {},
    asks: () => {},
  });

  beforeEach(() => {
    log = [];
    picture = null;
    applyFails = undefined;
    lacking = false;
    abort = new AbortController();
    guests = new Map(['a', 'b'].map((name) => [name, new FakeGuest(name, log)]));
    const engine: Ground['engine'] = {
      get picture(): Picture | null {
        return picture;
      },
      onChange: () => ({ close: () => {} }),
      open: async () => {
        const started = picture === null;
        picture ??= empty;
        return { started };
      },
      applyNetwork: async ({ name }: { name: string }) => {
        log.push(`apply ${name}`);
        if (applyFails === name) throw new TapyardError('NAME_TAKEN', `${name} is taken`);
        picture = made(picture ?? empty, name);
        return [];
      },
      setShape: async (_network, guest, nic, shape) => {
        log.push(`shape ${guest} ${nic} ${shape.rate}`);
        return { shape, changed: true, ms: 0 };
      },
      removeNetwork: async (name: string) => void log.push(`remove ${name}`),
      release: async () => {
        log.push('release');
        picture = null;
      },
      tidy: () => {},
    };
    ground = {
      lab: seed,
      engine,
      guests,
      preflight: async () => {
        if (lacking) throw new TapyardError('IMAGE_MISSING', 'no image');
      },
      applied: new Map(),
      step: () => {},
    };
  });

  const up = (): Promise<void> => bringUp(ground, job(), 0);

  it('is done once, and the second time nothing is left to do', async () => {
    await up();
    expect(log).toEqual(['apply br0', 'apply br1', 'start a', 'start b']);
    log.length = 0;
    await up();
    expect(log).toEqual([]);
  });

  it('plugs and unplugs NICs of guests that run, and puts them back where it fails', async () => {
    await up();
    const changed = lab(`name: seed
networks: { br0: { subnet: 192.168.57.0/24 }, br1: { subnet: 10.0.0.0/24, nat: false }, br2: { subnet: 10.0.2.0/24 } }
guests:
  a: { image: micro, nics: [{ network: br0, address: 192.168.57.2 }, { network: br1 }] }
  b: { image: micro, nics: [] }
`);
    ground = {
      ...ground,
      lab: changed,
      engine: {
        ...ground.engine,
        picture,
        applyNetwork: async ({ name }) => {
          log.push(`apply ${name}`);
          return [];
        },
      },
    };
    log.length = 0;
    const a = guests.get('a');
    if (a) a.plug = async () => Promise.reject(new TapyardError('NO_FREE_PORT', 'a has no free port'));
    await expect(up()).rejects.toMatchObject({ code: 'NO_FREE_PORT' });
    expect(log).toEqual(['unplug b br1', 'apply br2', 'remove br2', 'plug b br1']);
    expect(guests.get('b')?.status.taps).toMatchObject([{ network: 'br1' }]);
  });

  it('that fails takes back what it made, and only that', async () => {
    applyFails = 'br1';
    await expect(up()).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect(log).toEqual(['apply br0', 'apply br1', 'release']);
    expect(picture).toBeNull();

    log.length = 0;
    picture = made(empty, 'br0');
    await expect(up()).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect(log).toEqual(['apply br0', 'apply br1']);
    expect(picture).not.toBeNull();
  });

  it('that fails gives networks that it changed or removed their old definition back', async () => {
    await up();
    const changed = lab(`name: seed
networks: { br0: { subnet: 192.168.57.0/24, mtu: 1400 }, br2: { subnet: 10.0.2.0/24 } }
guests: {}
`);
    const applies: [string, number | null][] = [];
    const { engine } = ground;
    ground = {
      ...ground,
      lab: changed,
      engine: {
        ...engine,
        picture,
        open: async () => ({ started: false }),
        applyNetwork: async (network) => {
          applies.push([network.name, isOwn(network) ? network.mtu : null]);
          if (network.name === 'br2') throw new TapyardError('SUBNET_OVERLAP', 'br2 overlaps');
          return [];
        },
      },
    };
    log.length = 0;
    await expect(up()).rejects.toMatchObject({ code: 'SUBNET_OVERLAP' });
    expect(log).toEqual(['remove br1']);
    expect(applies).toEqual([
      ['br0', 1400],
      ['br2', 1500],
      ['br0', 1500],
      ['br1', 1500],
    ]);
    expect([...ground.applied.values()].toSorted((a, b) => a.name.localeCompare(b.name))).toEqual(
      seed.networks,
    );
  });

  it('whose guest does not start ends the other guests that it started, not those that ran', async () => {
    const [a, b] = [...guests.values()];
    if (!a || !b) throw new Error('no guests');
    b.startFails = new TapyardError('QEMU_FAILED', 'no');
    await expect(up()).rejects.toMatchObject({ code: 'QEMU_FAILED' });
    expect(log).toEqual(['apply br0', 'apply br1', 'start a', 'start b', 'force a', 'release']);
    log.length = 0;
    picture = made(made(empty, 'br0'), 'br1');
    a.status = { state: 'running', pid: 1, taps: heldBy('a') };
    await expect(up()).rejects.toMatchObject({ code: 'QEMU_FAILED' });
    expect(log).toEqual(['apply br0', 'apply br1', 'start b']);
    expect(a.status.state).toBe('running');
  });

  it('that is stopped undoes and says so', async () => {
    setTimeout(() => abort.abort(), 2);
    await expect(up()).rejects.toMatchObject({ code: 'ABORTED' });
    expect(log.at(-1)).toBe('release');
    expect([...guests.values()].map((guest) => guest.status.pid)).toEqual([null, null]);
  });

  it('that lacks an image makes nothing', async () => {
    lacking = true;
    await expect(up()).rejects.toMatchObject({ code: 'IMAGE_MISSING' });
    expect(log).toEqual([]);
  });

  it.each([
    ['fails', 'QEMU_FAILED'],
    ['is stopped', 'ABORTED'],
  ])('that %s and cannot be undone says what is left', async (how, code) => {
    ground = {
      ...ground,
      engine: {
        ...ground.engine,
        picture: null,
        release: () => Promise.reject(new TapyardError('KERNEL', 'br0 stays')),
      },
    };
    const b = guests.get('b');
    if (!b) throw new Error('no guest');
    if (how === 'fails') b.startFails = new TapyardError('QEMU_FAILED', 'no QEMU today');
    else setTimeout(() => abort.abort(), 2);
    b.forceOff = () => Promise.reject(new TapyardError('QMP_FAILED', 'b runs on'));
    await expect(up()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/b runs on\nbr0 stays$/),
      hint: expect.stringContaining('tapyard down'),
    });
  });

  it('whose network may have been made although netd did not answer takes it back', async () => {
    picture = made(empty, 'br0');
    const { applyNetwork } = ground.engine;
    ground = {
      ...ground,
      engine: {
        ...ground.engine,
        picture,
        applyNetwork: async (network) => {
          if (network.name === 'br1') throw new TapyardError('DEADLINE', 'no answer');
          return applyNetwork(network);
        },
      },
    };
    await expect(up()).rejects.toMatchObject({ code: 'DEADLINE' });
    expect(log).toEqual(['apply br0', 'remove br1']);
  });

  it('down also ends a guest that has only begun to start', async () => {
    await up();
    const a = guests.get('a');
    if (!a) throw new Error('no guest');
    // What it is before its start has looked around: `stop` waits for it.
    a.status = { state: 'shut off', pid: null, taps: [] };
    log.length = 0;
    await bringDown(ground, job(), true);
    expect(log).toEqual(['stop a 0', 'stop b 0', 'release']);
  });

  it('down asks the guests first, or with force not', async () => {
    await up();
    log.length = 0;
    await bringDown(ground, job(), false);
    expect(log).toEqual(['stop a 20000', 'stop b 20000', 'release']);
    expect(ground.applied.size).toBe(0);
    await up();
    log.length = 0;
    await bringDown(ground, job(), true);
    expect(log).toEqual(['stop a 0', 'stop b 0', 'release']);
  });
});
