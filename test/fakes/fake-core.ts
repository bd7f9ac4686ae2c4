// SPDX-License-Identifier: Apache-2.0
import { connect } from '../../electron/contract/connect.ts';
import type { ActRow } from '../../electron/contract/act.ts';
import type { Channel, Connection } from '../../electron/contract/client.ts';
import { serveChannel } from '../../electron/contract/dispatch.ts';
import { type ErrorData, TapyardError } from '../../electron/contract/error.ts';
import { memoryChannelPair } from '../../electron/contract/memory-channel.ts';
import type {
  CheckResult,
  ForwardRow,
  GuestRow,
  JobRow,
  LabRow,
  NetworkRow,
  StepRow,
} from '../../electron/contract/rows.ts';
import { listeningText, type NetworkDefinition } from '../../electron/contract/lab-file.ts';
import type { Server } from '../../electron/contract/server.ts';
import { fakeScreen, fakeSerial } from './consoles.ts';
import { lower } from './labs.ts';
import { bridgeLinkRow, forwardRow, guestRow, networkRow, nicState, tapLinks, type LabRows } from './rows.ts';
import { FakeGauge, FakeTable } from './table.ts';

/** How the fake behaves, for tests that want it slow or failing. */
export interface FakeOptions {
  /** Time from `setNat` to the kernel's new state, ms. */
  readonly natMs?: number;
  /** Time that a guest takes to start or stop, ms. */
  readonly guestMs?: number;
  /** Calls by leaf name ("network.setNat") that fail with this error. */
  readonly failing?: Readonly<Record<string, TapyardError>>;
  /** Traffic of every link, bits a second; null for a pattern that differs by link and time. 0 is a quiet lab. */
  readonly rate?: { down: number; up: number } | null;
  /** Time between samples of a gauge, ms. */
  readonly gaugeMs?: number;
}

const netd = '/usr/libexec/tapyard/host/tapyard-netd';
const setcap = `/usr/sbin/setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${netd}`;
const mended = `You may run ${netd}: nobody is asked.`;
const checks: readonly CheckResult[] = [
  { id: 'tun', title: 'TUN/TAP device', state: 'ok', found: '/dev/net/tun can be opened.', fixes: [] },
  {
    id: 'kvm',
    title: 'Hardware acceleration (KVM)',
    state: 'warning',
    found: 'KVM is present but does not run guests here; using TCG',
    fixes: [{ text: 'See what the kernel says of it:', command: 'sudo dmesg | grep -i kvm' }],
  },
  {
    id: 'host-scope',
    title: 'Host scope',
    state: 'warning',
    found: `${netd} has lost its file capabilities, as a file does that is copied or upgraded (or its file system is mounted nosuid). Without it polkit asks for a password.`,
    fixes: [{ text: 'Give them back:', command: `sudo ${setcap}`, mend: 'host-scope' }],
  },
];

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A number in 0…1 that is always the same for a text and a tick. */
export function noise(text: string, tick: number): number {
  let hash = 2166136261 ^ tick;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}

const tails: Readonly<Record<string, string>> = {
  'seed/web': 'root@web:~# apt-get update',
  'seed/db': 'db login:',
  'seed/router': 'eth0: link is down',
};

/**
 * A core without kernel and QEMU that implements the whole contract over given rows. What it is asked for it
 * does after a short time and shows in its tables, as the real one does; nothing is answered before.
 */
export class FakeCore {
  readonly labs: FakeTable<LabRow>;
  readonly networks: FakeTable<NetworkRow>;
  readonly links: FakeTable<LabRows['links'][number]>;
  readonly guests: FakeTable<GuestRow>;
  readonly forwards: FakeTable<ForwardRow>;
  readonly jobs = new FakeTable<JobRow>();
  readonly acts = new FakeTable<ActRow>();
  readonly steps: FakeTable<StepRow>;
  /** Every call that came, as "leaf subject". */
  readonly calls: string[] = [];
  /** What the checks find. */
  checks: readonly CheckResult[] = checks;
  /** Answers what polkit asks for a mend: with the password, or with this refusal. */
  answerPolkit: (error?: ErrorData) => void = () => {};
  readonly server: Server;
  readonly #up: LabRows;
  readonly #options: Required<Omit<FakeOptions, 'rate'>> & Pick<FakeOptions, 'rate'>;
  readonly #channels = new Set<Channel>();
  #gone = false;
  #jobCount = 0;

  constructor(rows: LabRows, options: FakeOptions = {}, up: LabRows = rows) {
    this.#up = up;
    this.#options = { natMs: 30, guestMs: 250, failing: {}, gaugeMs: 200, ...options };
    this.labs = new FakeTable(rows.labs);
    this.networks = new FakeTable(rows.networks);
    this.links = new FakeTable(rows.links);
    this.guests = new FakeTable(rows.guests);
    this.forwards = new FakeTable(rows.forwards);
    this.steps = new FakeTable(recipe(rows));
    this.server = this.#makeServer(rows);
  }

  /**
   * A client of this core over a pair of channels in memory: the real wire, the real dispatcher. Rejects with
   * CORE_UNREACHABLE after {@link quit}.
   */
  async connect(): Promise<Connection> {
    if (this.#gone) throw new TapyardError('CORE_UNREACHABLE', 'There is no core any more.');
    const [near, far] = memoryChannelPair();
    this.#channels.add(far);
    serveChannel(far, this.server, { audience: 'user' });
    return connect(near, { role: 'window', deadlineMs: 5000 });
  }

  /** What a kill -9 of the core looks like. */
  quit(): void {
    this.#gone = true;
    for (const channel of this.#channels) channel.close();
  }

  /** Changes one guest's row. */
  patchGuest(id: string, part: Partial<GuestRow>): void {
    const row = this.guests.get(id);
    if (row) this.guests.change([{ ...row, ...part }]);
  }

  #note(leaf: string, subject: string): void {
    this.calls.push(`${leaf} ${subject}`);
    const error = this.#options.failing[leaf];
    if (error) throw error;
  }

  #guest(lab: string, guest: string): GuestRow {
    const row = this.guests.get(`${lab}/${guest}`);
    if (!row) throw new TapyardError('NO_SUCH_GUEST', `There is no guest ${guest} in ${lab}.`);
    return row;
  }

  #startGuest(row: GuestRow): void {
    if (row.pid !== null) return;
    const nics = row.nics.map((nic, at) => ({ ...nic, tap: nic.wantedTap, fd: 30 + at }));
    const started: GuestRow = {
      ...row,
      state: 'starting',
      stateReason: null,
      error: null,
      pid: 33_000,
      nics,
    };
    this.guests.change([started]);
    this.links.change(tapLinks(started));
    this.#countPorts();
    setTimeout(() => {
      if (this.guests.get(row.id)?.state !== 'starting') return;
      const leased = nics.map((nic) => ({ ...nic, leased: nic.address !== null }));
      this.patchGuest(row.id, { state: 'running', nics: leased });
    }, this.#options.guestMs);
  }

  #endGuest(row: GuestRow, state: 'shut off' | 'crashed', reason: string | null): void {
    const nics = row.nics.map((nic) => ({ ...nic, tap: null, fd: null, leased: false }));
    this.patchGuest(row.id, { state, stateReason: reason, pid: null, nics });
    this.links.change(
      [],
      tapLinks(row).map((link) => link.id),
    );
    this.#countPorts();
  }

  /** What a kill -9 of its QEMU looks like. */
  crashGuest(id: string): void {
    const row = this.guests.get(id);
    if (row) this.#endGuest(row, 'crashed', 'killed by signal 9');
  }

  #countPorts(): void {
    const links = this.links.rows();
    const changed = this.networks.rows().flatMap((network): NetworkRow[] => {
      const ports = links.filter((link) => link.lab === network.lab && link.master === network.name).length;
      if (!network.observed || network.observed.ports === ports) return [];
      return [{ ...network, observed: { ...network.observed, ports } }];
    });
    this.networks.change(changed);
  }

  #job(
    name: string,
    of: { lab: string } | { check: string },
    doing: string,
    work: () => Promise<void>,
    asks: string | null = null,
  ): { job: string } {
    const id = `job${++this.#jobCount}`;
    const row: JobRow = {
      id,
      lab: null,
      check: null,
      ...of,
      name,
      state: 'running',
      doing,
      asks,
      done: 0,
      total: 3,
      startedAt: Date.now(),
      endedAt: null,
      error: null,
    };
    this.jobs.change([row]);
    void work().then(
      () => this.jobs.change([{ ...row, asks: null, state: 'done', done: 3, endedAt: Date.now() }]),
      (thrown: unknown) => {
        const error = TapyardError.from(thrown).toData();
        this.jobs.change([{ ...row, asks: null, state: 'failed', endedAt: Date.now(), error }]);
      },
    );
    return { job: id };
  }

  async #bringUp(labId: string): Promise<void> {
    const lab = this.labs.get(labId);
    const goal = this.#up.labs.find((row) => row.id === labId);
    if (!lab || !goal) throw new TapyardError('NO_SUCH_LAB', `There is no lab ${labId}.`);
    this.labs.change([{ ...lab, state: 'starting', error: null }]);
    await wait(this.#options.guestMs);
    const networks = this.#up.networks.filter((row) => row.lab === labId);
    this.networks.change(
      networks.map((row) => ({ ...row, observed: row.observed && { ...row.observed, ports: 0 } })),
    );
    this.links.change(networks.map(bridgeLinkRow));
    this.labs.change([{ ...goal, state: 'starting' }]);
    await wait(this.#options.guestMs);
    for (const guest of this.guests.rows()) if (guest.lab === labId) this.#startGuest(guest);
    this.labs.change([{ ...goal, state: 'up' }]);
  }

  async #bringDown(labId: string): Promise<void> {
    const lab = this.labs.get(labId);
    if (!lab) throw new TapyardError('NO_SUCH_LAB', `There is no lab ${labId}.`);
    this.labs.change([{ ...lab, state: 'stopping' }]);
    await wait(this.#options.guestMs);
    const down = lower(this.#up);
    this.guests.change(down.guests.filter((row) => row.lab === labId));
    this.networks.change(down.networks.filter((row) => row.lab === labId));
    this.links.change(
      [],
      this.links
        .rows()
        .filter((row) => row.lab === labId)
        .map((row) => row.id),
    );
    this.labs.change(down.labs.filter((row) => row.id === labId));
  }

  /** A network as it is written, made at once where the lab is up. */
  #putNetwork(lab: string, name: string, definition: NetworkDefinition): void {
    const { mode, subnet = '', nat } = definition;
    const made = networkRow(lab, name, subnet, { mode, ...(nat === undefined ? {} : { nat }) });
    const up = this.labs.get(lab)?.state === 'up';
    this.networks.change([{ ...made, definition, observed: up ? made.observed : null }]);
    if (up) this.links.change([bridgeLinkRow(made)]);
    this.#countPorts();
  }

  #makeServer(rows: LabRows): Server {
    const { natMs, guestMs, gaugeMs, rate } = this.#options;
    const verb = (name: string, act: (row: GuestRow) => void) => {
      return async (input: { lab: string; guest: string }): Promise<Record<string, never>> => {
        const row = this.#guest(input.lab, input.guest);
        this.#note(`guest.${name}`, row.id);
        act(row);
        return {};
      };
    };
    return {
      lab: {
        open: async ({ file }) => {
          this.#note('lab.open', file);
          return { lab: rows.labs[0]?.name ?? '' };
        },
        forget: async ({ lab }) => {
          this.#note('lab.forget', lab);
          this.labs.change([], [lab]);
          return {};
        },
        up: async ({ lab }) => {
          this.#note('lab.up', lab);
          return this.#job('lab.up', { lab }, `bringing ${lab} up`, () => this.#bringUp(lab));
        },
        move: async ({ lab, scope }) => {
          this.#note('lab.move', `${lab} ${scope}`);
          return this.#job('lab.move', { lab }, `moving ${lab}`, async () => {
            await wait(guestMs);
            const row = this.labs.get(lab);
            if (row) this.labs.change([{ ...row, scope }]);
          });
        },
        down: async ({ lab }) => {
          this.#note('lab.down', lab);
          return this.#job('lab.down', { lab }, `taking ${lab} down`, () => this.#bringDown(lab));
        },
      },
      guest: {
        start: verb('start', (row) => this.#startGuest(row)),
        shutdown: verb('shutdown', (row) => {
          this.patchGuest(row.id, { state: 'shutting down' });
          setTimeout(() => this.#endGuest(row, 'shut off', null), guestMs);
        }),
        forceOff: verb(
          'forceOff',
          (row) => void setTimeout(() => this.#endGuest(row, 'shut off', 'by user'), 20),
        ),
        pause: verb('pause', (row) => this.patchGuest(row.id, { state: 'paused' })),
        resume: verb('resume', (row) => this.patchGuest(row.id, { state: 'running' })),
        reset: verb('reset', () => {}),
        setLink: async ({ lab, guest, nic, up }) => {
          const row = this.#guest(lab, guest);
          this.#note('guest.setLink', `${row.id} ${nic} ${up ? 'up' : 'down'}`);
          const nics = row.nics.map((each) => (each.index === nic ? { ...each, plugged: up } : each));
          this.patchGuest(row.id, { nics });
          return { changed: true };
        },
        setShape: async ({ lab, guest, nic, shape }) => {
          const row = this.#guest(lab, guest);
          this.#note('guest.setShape', `${row.id} ${nic} ${JSON.stringify(shape)}`);
          const nics = row.nics.map((each) =>
            each.index === nic ? { ...each, shape, wantedShape: shape } : each,
          );
          this.patchGuest(row.id, { nics });
          return { changed: true, live: row.pid !== null };
        },
        create: async ({ lab, guest, definition, start }) => {
          this.#note('guest.create', `${lab}/${guest}`);
          if (this.guests.get(`${lab}/${guest}`)) {
            throw new TapyardError('GUEST_NAME_TAKEN', `${lab} already has a guest ${guest}.`);
          }
          const used = this.guests.rows().flatMap((row) => row.nics).length;
          const nics = definition.nics.map((nic, at) => ({
            ...nicState(at, nic.network, `tap${used + at}`, nic.address ?? null),
            tap: null,
            fd: null,
            leased: false,
          }));
          const row = guestRow(lab, guest, nics, {
            state: 'shut off',
            pid: null,
            image: definition.image,
            imageLabel: definition.image === 'micro' ? 'Micro guest' : definition.image,
            cpus: definition.cpus,
          });
          this.guests.change([row]);
          if (start) this.#startGuest(row);
          return {};
        },
        remove: async ({ lab, guest }) => {
          this.#note('guest.remove', `${lab}/${guest}`);
          this.guests.change([], [`${lab}/${guest}`]);
          return {};
        },
        addNic: async ({ lab, guest, nic }) => {
          this.#note('guest.addNic', `${lab}/${guest}`);
          const row = this.#guest(lab, guest);
          const used = this.guests.rows().flatMap(({ nics }) => nics).length;
          const added = {
            ...nicState(row.nics.length, nic.network, `tap${used}`, nic.address ?? null),
            mac: `52:54:00:a1:40:0${used}`,
            leased: false,
            fd: null,
          };
          const plugged = row.state === 'running';
          if (plugged) {
            await wait(guestMs);
            this.links.change(tapLinks({ ...row, nics: [added] }));
          }
          this.patchGuest(row.id, { nics: [...row.nics, { ...added, tap: plugged ? added.tap : null }] });
          return { nic: row.nics.length };
        },
        removeNic: async ({ lab, guest, nic }) => {
          this.#note('guest.removeNic', `${lab}/${guest} ${nic}`);
          const row = this.#guest(lab, guest);
          const nics = row.nics.filter(({ index }) => index !== nic);
          const gone = row.nics.filter(({ index }) => index === nic);
          if (row.state === 'running') {
            await wait(guestMs);
            this.links.change(
              [],
              tapLinks({ ...row, nics: gone }).map(({ id }) => id),
            );
          }
          this.patchGuest(row.id, { nics: nics.map((each, index) => ({ ...each, index })) });
          return {};
        },
      },
      network: {
        subnets: async () => ({ free: '10.73.5.0/24', used: [{ subnet: '10.0.4.0/24', by: 'wlp3s0' }] }),
        create: async ({ lab, network, definition }) => {
          this.#note('network.create', `${lab}/${network}`);
          this.#putNetwork(lab, network, definition);
          return {};
        },
        change: async ({ lab, network, definition }) => {
          this.#note('network.change', `${lab}/${network}`);
          this.#putNetwork(lab, network, definition);
          return {};
        },
        remove: async ({ lab, network }) => {
          this.#note('network.remove', `${lab}/${network}`);
          this.networks.change([], [`${lab}/${network}`]);
          this.links.change([], [`${lab}/${network}`]);
          return {};
        },
        setNat: async ({ lab, network, nat }) => {
          this.#note('network.setNat', `${lab}/${network} ${nat ? 'on' : 'off'}`);
          await wait(natMs);
          const row = this.networks.get(`${lab}/${network}`);
          if (!row?.observed)
            throw new TapyardError('LAB_NOT_UP', `${network} is not there: ${lab} is down.`);
          const changed = row.observed.nat !== nat;
          this.networks.change([{ ...row, observed: { ...row.observed, nat } }]);
          return { nat, changed, flowsRemoved: nat ? 0 : 41, ms: 0.4 };
        },
      },
      forward: {
        add: async ({ lab, guest, forward: { port, to, ...at } }) => {
          this.#note('forward.add', `${lab}/${guest} ${listeningText({ port, ...at })}`);
          this.forwards.change([forwardRow(this.#guest(lab, guest), port, to ?? port, at)]);
          return {};
        },
        remove: async ({ lab, guest, ...at }) => {
          this.#note('forward.remove', `${lab}/${guest} ${listeningText(at)}`);
          this.forwards.change([], [`${lab}/${guest}/${listeningText(at)}`]);
          return {};
        },
      },
      recipe: { script: async () => ({ script: '#!/bin/sh\nset -e\nip link add br0 type bridge\n' }) },
      check: {
        run: async () => ({ results: [...this.checks] }),
        mend: async ({ check }) => {
          this.#note('check.mend', check);
          const asks = `polkit asks you now for the password of an administrator, to run as root: ${setcap}. Closed, it is not run.`;
          const work = async (): Promise<void> => {
            await new Promise<void>((answer, refuse) => {
              this.answerPolkit = (error) => (error ? refuse(TapyardError.fromData(error)) : answer());
            });
            this.checks = this.checks.map((result) =>
              result.id === check ? { ...result, state: 'ok', found: mended, fixes: [] } : result,
            );
          };
          return this.#job('check.mend', { check }, `running ${setcap}`, work, asks);
        },
      },
      image: {
        list: async () => ({ images: [{ image: 'micro', label: 'Micro guest', ready: true }] }),
      },
      job: { cancel: async () => ({}) },
      command: {
        run: async () => {
          throw new TapyardError('USAGE', 'The fake core has no commands.');
        },
      },
      core: { quit: async () => ({}) },
      tables: {
        host: new FakeTable([rows.host]),
        labs: this.labs,
        networks: this.networks,
        links: this.links,
        guests: this.guests,
        forwards: this.forwards,
        steps: this.steps,
        jobs: this.jobs,
        acts: this.acts,
      },
      gauges: {
        rates: new FakeGauge(
          gaugeMs,
          (tick) => new Map(this.links.rows().map((link) => [link.id, rate ?? rateOf(link.id, tick)])),
        ),
        flows: new FakeGauge(
          gaugeMs,
          (tick) => new Map(this.labs.rows().map((lab) => [lab.id, 38 + (tick % 7)])),
        ),
        tails: new FakeGauge(
          gaugeMs,
          (tick) => new Map(this.#running().map((guest) => [guest.id, tailOf(guest, tick)])),
        ),
        cpu: new FakeGauge(
          gaugeMs,
          (tick) => new Map(this.#running().map((guest) => [guest.id, noise(guest.id, tick) * 40])),
        ),
      },
      consoles: {
        serial: async ({ lab, guest }, sink) => fakeSerial(this.#guest(lab, guest).name, sink),
        screen: async ({ lab, guest }, sink) => fakeScreen(this.#guest(lab, guest).name, sink),
      },
    };
  }

  #running(): GuestRow[] {
    return this.guests.rows().filter((guest) => guest.pid !== null);
  }
}

/** Rates of every link at a few ticks, made once: the fake shares its thread with the page that is measured. */
const phases = 8;
const known = new Map<string, { down: number; up: number }[]>();

function rateOf(id: string, tick: number): { down: number; up: number } {
  let rates = known.get(id);
  if (!rates) known.set(id, (rates = Array.from({ length: phases }, (_, phase) => rateAt(id, phase))));
  return rates[tick % phases] ?? { down: 0, up: 0 };
}

/** Traffic with a few loud links among many quiet ones, as in a real lab. */
function rateAt(id: string, tick: number): { down: number; up: number } {
  const loud = noise(id, 0);
  const size = loud > 0.7 ? 6e6 : loud > 0.3 ? 4e4 : 0;
  return { down: size * (0.4 + noise(id, tick + 1)), up: size * 0.1 * (0.4 + noise(id, tick + 7)) };
}

function tailOf(guest: GuestRow, tick: number): string {
  return tails[guest.id] ?? `[${(tick * 0.2 + 3).toFixed(3)}] ${guest.name}: ok`;
}

/** The tutorial's steps for the first network and guest. */
function recipe(rows: LabRows): StepRow[] {
  const lab = rows.labs[0];
  const network = rows.networks[0];
  const guest = rows.guests[0];
  if (!lab || !network || !guest) return [];
  const up = lab.state === 'up';
  const steps: [string, string, number | null, string | null][] = [
    [`bridge ${network.name}`, `ip link add ${network.name} type bridge`, 0.3, null],
    [`${network.name} up`, `ip link set ${network.name} up`, 0.1, null],
    ['tap tap0', 'open /dev/net/tun → tap0', 0.2, null],
    ['port tap0', `ip link set tap0 master ${network.name} up`, 0.2, null],
    ['address', `ip addr add ${network.wanted?.address ?? ''}/24 dev ${network.name}`, 0.1, null],
    [`start ${guest.name}`, 'qemu-system-x86_64 … -netdev tap,id=n0,fd=30', 61, null],
    ['forwarding', `sysctl net.ipv4.conf.${network.name}.forwarding=1`, 0.1, null],
    ['NAT', 'nft … oifname up0 masquerade', 3.6, null],
    ['guest: default route', 'ip route add default via 192.168.57.1', null, 'by DHCP'],
    ['guest: resolv.conf', 'nameserver 192.168.57.1', null, 'by DHCP'],
  ];
  return steps.map(([title, command, ms, by], order) => ({
    id: `${lab.id}/step${order}`,
    lab: lab.id,
    order,
    title,
    command,
    network: network.id,
    guest: guest.id,
    state: up && by === null ? 'done' : 'pending',
    ms: up ? ms : null,
    holds: by === null ? up : null,
    by,
    error: null,
  }));
}
