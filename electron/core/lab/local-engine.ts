// SPDX-License-Identifier: Apache-2.0
import { rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Subscription } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import type { ShapeNumbers } from '../../contract/shape.ts';
import type { Scope } from '../../contract/names.ts';
import { forwardsDir } from '../forward/forward-set.ts';
import { Guest } from '../guest/guest.ts';
import type { GuestSpec } from '../guest/spec.ts';
import { qemuProgram } from '../host/programs.ts';
import { labDir } from '../host/runtime-dir.ts';
import { inspectImage } from '../image/inspect.ts';
import type { NetdClient } from '../net/netd-client.ts';
import { connectNetd, ensureNetd, netdDir, netdLeftSomething, netdSocket } from '../net/netd-process.ts';
import type { NetdEvent, NetdExposure, NetdNetwork, NetdReply } from '../net/netd-protocol.ts';
import { networkIn, type Picture, pictureOf, tapIn, withEvent } from '../net/picture.ts';
import type { ActLog } from './act-log.ts';
import type { Engine, GuestHandle } from './engine.ts';
import { isOwn, type ResolvedNetwork } from './resolve.ts';
import { SharedNetd } from './shared-netd.ts';

/** netd answers `shutdown` and exits; longer than this it hangs. */
const exitDeadline = 5_000;
/** Events are late by some 20 ms; after this they do not come, ms. */
const eventDeadline = 1_000;
/** A netd that dies is started again after these pauses, ms; then the lab says that it is gone. */
const restartPauses = [50, 500, 3_000];

/** What netd could not remove. */
type Failures = NetdReply<'shutdown'>['failed'];

/** netd and QEMU on this computer, for one lab in one scope. */
export class LocalEngine implements Engine {
  readonly scope: Scope;
  readonly #lab: string;
  readonly #acts: Pick<ActLog, 'take'>;
  readonly #listeners = new Set<() => void>();
  #client: NetdClient | undefined;
  #opening: Promise<{ started: boolean }> | undefined;
  #picture: Picture | null = null;
  #failure: TapyardError | null = null;
  /** The netd that this lab is up in, or was. */
  #shared: SharedNetd | undefined;
  #closed = false;

  /** @param acts is told what netd did, as often as netd tells it */
  constructor(lab: string, scope: Scope, acts: Pick<ActLog, 'take'>) {
    this.#lab = lab;
    this.scope = scope;
    this.#acts = acts;
  }

  get picture(): Picture | null {
    return this.#picture;
  }

  get failure(): TapyardError | null {
    return this.#failure;
  }

  get netdSocket(): string {
    return netdSocket(this.scope, this.#lab);
  }

  onChange(listener: () => void): Subscription {
    this.#listeners.add(listener);
    return { close: () => void this.#listeners.delete(listener) };
  }

  guest(spec: Omit<GuestSpec, 'lab' | 'netdSocket'>): GuestHandle {
    return new Guest({ ...spec, lab: this.#lab, netdSocket: this.netdSocket });
  }

  async adopt(): Promise<void> {
    if (this.#client) return;
    const client = await connectNetd(this.scope, this.#lab);
    if (client) await this.#follow(client);
    // A killed netd leaves its anchor and journal: a new one enters the namespace again.
    else if (netdLeftSomething(this.scope, this.#lab)) await this.#connect();
  }

  async preflight(guests: readonly GuestHandle[]): Promise<void> {
    if (guests.length === 0) return;
    qemuProgram('qemu-system-x86_64');
    for (const guest of guests) await inspectImage(guest.spec.image);
  }

  async open(tell?: (asks: string) => void): Promise<{ started: boolean }> {
    const netd = this.#netd;
    this.#shared = netd;
    return netd.exclusively(async () => {
      netd.users.add(this);
      try {
        return await this.#connect(tell);
      } catch (error) {
        netd.users.delete(this);
        throw error;
      }
    });
  }

  get #netd(): SharedNetd {
    return SharedNetd.at(this.netdSocket);
  }

  async #connect(tell?: (asks: string) => void): Promise<{ started: boolean }> {
    if (this.#client) return { started: false };
    this.#opening ??= this.#open(tell).finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #open(tell?: (asks: string) => void): Promise<{ started: boolean }> {
    const { client, started } = await ensureNetd(this.scope, this.#lab, tell);
    await this.#follow(client);
    return { started };
  }

  async applyNetwork(network: ResolvedNetwork): Promise<NetdReply<'apply_network'>['steps']> {
    const { name, mode, subnet, address, ipv6, uplink, mac, mtu, nat, antispoof, dhcp } = network;
    const of = { name, mode, subnet, address, ipv6, uplink, interface: network.interface, mac, mtu };
    const proxy = isOwn(network) && network.proxyArp ? { proxy_arp: true } : {};
    const wanted = { ...of, nat, antispoof, ...proxy, dhcp, domain: 'lab' } as const;
    const reply = await this.#connected().request('apply_network', { lab: this.#lab, network: wanted });
    const { bridge } = reply.network;
    // The event with the bridge itself comes within 20 ms: what is done is to be seen.
    await this.#until(() => bridge === null || (this.#picture?.links.has(bridge) ?? true));
    this.#event({ event: 'networks', put: [reply.network], del: [] });
    return reply.steps;
  }

  async removeNetwork(name: string): Promise<void> {
    const { failed } = await this.#connected().request('remove_network', { lab: this.#lab, network: name });
    throwFailed(this.#lab, failed);
    this.#event({ event: 'networks', put: [], del: [{ lab: this.#lab, name }] });
  }

  async setNat(name: string, nat: boolean): Promise<NetdReply<'set_nat'>> {
    const done = await this.#connected().request('set_nat', { lab: this.#lab, network: name, nat });
    const network = networkIn(this.#picture, this.#lab, name);
    // What netd answers it has read back from the kernel; its event comes a moment later.
    if (network) this.#event({ event: 'networks', put: [{ ...network, nat: done.nat }], del: [] });
    return done;
  }

  async expose(exposure: NetdExposure): Promise<void> {
    const { at } = await this.#connected().request('expose', { lab: this.#lab, exposure });
    await this.#until(() =>
      this.#exposed().some((each) => isDeepStrictEqual(each, { exposure, at: [...at] })),
    );
  }

  async unexpose(exposure: NetdExposure): Promise<void> {
    const { address, protocol, port } = exposure;
    await this.#connected().request('unexpose', { lab: this.#lab, address, protocol, port });
    await this.#until(() => !this.#exposed().some((each) => isDeepStrictEqual(each.exposure, exposure)));
  }

  #exposed(): NetdNetwork['exposed'] {
    const own = [...(this.#picture?.networks.values() ?? [])].filter(({ lab }) => lab === this.#lab);
    return own.flatMap(({ exposed }) => exposed);
  }

  async setShape(
    network: string,
    guest: string,
    nic: number,
    shape: ShapeNumbers,
  ): Promise<NetdReply<'set_shape'>> {
    const done = await this.#connected().request('set_shape', {
      lab: this.#lab,
      network,
      guest,
      nic,
      shape,
    });
    const link = tapIn(this.#picture, this.#lab, guest, nic);
    // Read back from the kernel, as with NAT.
    if (link) this.#event({ event: 'links', put: [{ ...link, shape: done.shape }], del: [] });
    return done;
  }

  async counters(): Promise<NetdReply<'counters'>> {
    return this.#connected().request('counters', {});
  }

  async release(): Promise<void> {
    await this.#netd.exclusively(async () => {
      this.#netd.users.delete(this);
      if (!this.#client) await this.adopt();
      const client = this.#client;
      const failed = client ? await this.#remove(client) : [];
      this.#failure = null;
      this.tidy();
      this.#tell();
      throwFailed(this.#lab, failed);
    });
  }

  /** Removes the lab's networks, and netd with them where no other lab lives in it; what failed. */
  async #remove(client: NetdClient): Promise<Failures> {
    const networks = [...(this.#picture?.networks.values() ?? [])];
    this.#forget();
    if (!this.#netd.isUsedBeside(this) && networks.every((network) => network.lab === this.#lab)) {
      const { failed } = await client.request('shutdown', {});
      // Whoever looks on as well has to notice before anybody opens it anew.
      const gone = Promise.all([...this.#netd.clients].map((each) => each.closed));
      await Promise.race([gone, delay(exitDeadline, undefined, { ref: false })]);
      client.close();
      return failed;
    }
    // Other labs of ours live in the same netd (host scope).
    const failed: Failures = [];
    for (const { lab, name } of networks) {
      if (lab !== this.#lab) continue;
      failed.push(...(await client.request('remove_network', { lab, network: name })).failed);
    }
    await this.#readActs(client);
    client.close();
    return failed;
  }

  async endIdle(): Promise<boolean> {
    const netd = this.#netd;
    return netd.exclusively(async () => {
      const client = await connectNetd(this.scope, this.#lab);
      if (client) {
        const { networks } = pictureOf(await client.request('observe', {}));
        if (networks.size === 0 && netd.users.size === 0) {
          await client.request('shutdown', {});
          await Promise.race([client.closed, delay(exitDeadline, undefined, { ref: false })]);
        }
        client.close();
      }
      this.tidy();
      return client !== undefined;
    });
  }

  tidy(): void {
    removeEmptyDirectories(this.scope, this.#lab);
  }

  close(): void {
    this.#closed = true;
    this.#shared?.users.delete(this);
    const client = this.#client;
    this.#forget();
    client?.close();
  }

  #connected(): NetdClient {
    if (this.#client) return this.#client;
    throw new TapyardError('LAB_NOT_UP', `The lab ${this.#lab} is down.`, {
      hint: `Bring it up first: tapyard up.`,
      subject: this.#lab,
    });
  }

  /** Takes the first picture and follows the events. */
  async #follow(client: NetdClient): Promise<void> {
    // Events may stand behind the snapshot in the same packet, before anybody could look at it, and come while the
    // acts are asked for, which are taken in first: the log takes none that is older than one that it has.
    const early: NetdEvent[] = [];
    client.onEvent = (event) => early.push(event);
    let picture: Picture;
    try {
      picture = pictureOf(await client.request('observe', {}));
    } catch (error) {
      client.close();
      throw error;
    }
    await this.#readActs(client);
    for (const event of early) {
      if (event.event === 'acts') this.#acts.take(event.acts, client.hello.instance);
      else picture = withEvent(picture, event);
    }
    client.onEvent = (event) => {
      if (event.event === 'acts') this.#acts.take(event.acts, client.hello.instance);
      else this.#event(event);
    };
    this.#client = client;
    this.#netd.connected(client);
    this.#picture = picture;
    this.#failure = null;
    void client.closed.then((reason) => this.#lost(client, reason));
    this.#tell();
  }

  /** All that netd remembers: it may have worked while no core looked on. */
  async #readActs(client: NetdClient): Promise<void> {
    try {
      const { acts } = await client.request('acts', {});
      this.#acts.take(acts, client.hello.instance);
    } catch {
      // One that is older, or goes just now: what is missing is a record.
    }
  }

  /** Waits until `seen`, at most {@link eventDeadline}: then the rows tell what is not as it should be. */
  async #until(seen: () => boolean): Promise<void> {
    if (seen()) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        following.close();
        resolve();
      };
      const timer = setTimeout(finish, eventDeadline);
      const following = this.onChange(() => {
        if (seen()) finish();
      });
    });
  }

  #event(event: NetdEvent): void {
    if (!this.#picture) return;
    this.#picture = withEvent(this.#picture, event);
    this.#tell();
  }

  #forget(): void {
    this.#client = undefined;
    this.#picture = null;
  }

  /** netd went away by itself: what it made stays, and a new one finds it by the journal. */
  async #lost(client: NetdClient, reason: TapyardError): Promise<void> {
    if (this.#client !== client) return;
    this.#forget();
    for (const pause of restartPauses) {
      // Sent away by somebody else of us (the last lab in the host scope), it leaves nothing.
      if (!netdLeftSomething(this.scope, this.#lab)) {
        this.#tell();
        return;
      }
      this.#failure = reason;
      this.#tell();
      await delay(pause, undefined, { ref: false });
      if (this.#closed || this.#client) return;
      try {
        await this.#connect();
        return;
      } catch (error) {
        this.#failure = TapyardError.from(error);
      }
    }
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function throwFailed(lab: string, failed: Failures): void {
  const [first] = failed;
  if (!first) return;
  const { message } = TapyardError.fromData(first);
  const more = failed.slice(1).map((each) => each.message);
  throw TapyardError.fromData({
    ...first,
    message: [`Not everything of ${lab} could be removed: ${message}`, ...more].join('\n'),
    hint: first.hint ?? 'Bring it down again; what is named here is what is left.',
  });
}

/** Removes the directories that are empty now, and no other. */
function removeEmptyDirectories(scope: Scope, lab: string): void {
  const dir = labDir(lab);
  for (const path of [netdDir(scope, lab), join(dir, 'guests'), forwardsDir(lab), dir, dirname(dir)]) {
    try {
      rmdirSync(path);
    } catch {
      // Not there, or not empty: somebody still needs it.
    }
  }
}
