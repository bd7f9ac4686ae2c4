// SPDX-License-Identifier: Apache-2.0
import { setTimeout as delay } from 'node:timers/promises';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ForwardDefinition, LabDefinition, Listening, NicDefinition } from '../../contract/lab-file.ts';
import { type ErrorData, TapyardError } from '../../contract/error.ts';
import type { Scope } from '../../contract/names.ts';
import type { LabRow } from '../../contract/rows.ts';
import { noShape, type ShapeDefinition } from '../../contract/shape.ts';
import type { Subscription } from '../../contract/client.ts';
import type { WantedForward } from '../forward/forward-set.ts';
import { Forwards } from '../forward/forwards.ts';
import { refuseUdp } from '../forward/way.ts';
import { tapOf } from '../guest/spec.ts';
import type { Job } from '../host/jobs.ts';
import type { UsedSubnet } from '../net/free-subnet.ts';
import { linkRows, networkIn, networkRows, tapIn, uplinkRow } from '../net/picture.ts';
import type { NewGuest, NewNetwork } from './edit.ts';
import { ActLog } from './act-log.ts';
import { DefinitionInForce } from './definition-in-force.ts';
import type { Engine, GuestHandle } from './engine.ts';
import { addForward, removeForward } from './forward-edits.ts';
import { createGuest, guestNameTaken, removeGuest } from './guest-edits.ts';
import { GuestSet, guestSpec } from './guest-set.ts';
import { type LoadedFile, watchLabFile } from './lab-file.ts';
import { dropRows, type LabTables, putRows } from './lab-tables.ts';
import { refuseWithoutSwitch, writeNat } from './nat-switch.ts';
import { changeNetwork, createNetwork, type EditGround, removeNetwork } from './network-edits.ts';
import { addNic, removeNic, type NicGround, shapeNic } from './nic-edits.ts';
import { bringDown, bringUp, type Ground } from './reconcile.ts';
import { type Held, recipeOf, type RecipeInput } from './recipe.ts';
import { recipeInput } from './recipe-input.ts';
import { PlannedStarts } from './planned-starts.ts';
import { recipeScript } from './recipe-script.ts';
import { type ResolvedLab, type ResolvedNetwork, resolveLab } from './resolve.ts';
import { guestRow, stepRows } from './rows.ts';
import { checkModes, moveScope } from './scope-move.ts';
import { StepRecords } from './step-records.ts';
import { readStepTimes, removeStepTimes, writeStepTimes } from './step-times.ts';
import { keepSubnets, offerSubnet, usedElsewhere } from './subnet-choice.ts';

/** What a lab is made from. */
export interface LabOptions {
  readonly name: string;
  /** Absolute path of the lab file. */
  readonly file: string;
  readonly scope: Scope;
  /** Where a core that was killed was moving it to. */
  readonly movesTo?: Scope | undefined;
  readonly tables: LabTables;
  /** Makes the engine for a scope. */
  readonly engine: (scope: Scope, acts: ActLog) => Engine;
  /** The scope was chosen anew, or a move to one has begun or come to nothing, which should be remembered. */
  readonly scopeChanged: () => Promise<void>;
}

/** One lab that the user has opened: its file, its engine, its guests, and the rows that tell of them. */
export class Lab {
  readonly name: string;
  readonly file: string;
  readonly #options: LabOptions;
  readonly #inForce: DefinitionInForce;
  readonly #guests: GuestSet;
  readonly #forwards: Forwards;
  readonly #applied = new Map<string, ResolvedNetwork>();
  readonly #records: StepRecords;
  readonly #acts: ActLog;
  readonly #plans = new PlannedStarts();
  #engine: Engine;
  #engineSubscription: Subscription;
  #watcher: { close(): void } | undefined;
  #busy: 'starting' | 'stopping' | undefined;
  /** From the question for the other scope to the end of the move: nothing else may begin in between. */
  #moving = false;
  /** The scope in which something may run for nobody, since a move to it has begun. */
  #movesTo: Scope | undefined;
  /** What the scope was before the `up` that has been admitted and not yet begun chose another. */
  #formerScope: Scope | undefined;
  #error: ErrorData | null = null;
  #failed = false;
  #opened = false;
  #publishing = false;
  #closed = false;
  /** NICs are added and removed one after the other: each edit begins with the file that the last one wrote. */
  #nicEdits: Promise<unknown> = Promise.resolve();
  /** The guest whose NICs are being edited. */
  #nicsEdited: string | null = null;

  private constructor(options: LabOptions) {
    this.#options = options;
    this.name = options.name;
    this.file = options.file;
    this.#records = new StepRecords(options.name);
    this.#guests = new GuestSet(options.name, () => this.#changed());
    this.#forwards = new Forwards(options.name, () => this.#changed());
    this.#inForce = new DefinitionInForce({
      lab: options.name,
      file: options.file,
      subnets: (definition) => this.#chooseSubnets(definition),
      changed: () => this.#settleGuests(),
    });
    this.#movesTo = options.movesTo;
    this.#acts = new ActLog(options.name, options.tables.acts, () => this.#filterCommand());
    this.#engine = options.engine(options.scope, this.#acts);
    this.#engineSubscription = this.#engine.onChange(() => this.#changed());
  }

  /**
   * Opens a lab that is known: what runs of it is taken over. What is wrong with its file, or with what runs,
   * is told in its row; it never rejects.
   */
  static async open(options: LabOptions, loaded?: LoadedFile): Promise<Lab> {
    const lab = new Lab(options);
    if (loaded) lab.#inForce.take(loaded);
    else await lab.reload();
    lab.#watcher = watchLabFile(lab.file, () => void lab.reload());
    try {
      await lab.#engine.adopt();
    } catch (error) {
      lab.#error = TapyardError.from(error).toData();
    }
    const [failure] = await lab.#guests.adopt(lab.#engine);
    if (failure) lab.#error ??= failure.toData();
    await lab.#endMove();
    if (lab.#state() === 'down') {
      removeStepTimes(lab.name);
      lab.#engine.tidy();
    } else lab.#records.recall(readStepTimes(lab.name) ?? { networks: {}, guests: {} });
    await lab.#forwards.adopt();
    // Not before all that runs is known: a forward whose lab seems to be down is ended.
    lab.#opened = true;
    await lab.#settleForwards();
    lab.publish();
    return lab;
  }

  get scope(): Scope {
    return this.#engine.scope;
  }

  get movesTo(): Scope | undefined {
    return this.#movesTo;
  }

  get busy(): boolean {
    return this.#busy !== undefined || this.#moving;
  }

  /** Whether nothing of it runs. */
  get isDown(): boolean {
    return this.#state() === 'down' || (this.#state() === 'failed' && !this.#running());
  }

  get engine(): Engine {
    return this.#engine;
  }

  get guests(): ReadonlyMap<string, GuestHandle> {
    return this.#guests.handles;
  }

  /** Throws NO_SUCH_GUEST. */
  guest(name: string): GuestHandle {
    return this.#guests.get(name);
  }

  /** See {@link DefinitionInForce.reload}. */
  async reload(): Promise<void> {
    if (this.#closed) return;
    await this.#inForce.reload();
    this.publish();
  }

  get #definition(): LabDefinition {
    return this.#inForce.definition;
  }

  get #resolved(): ResolvedLab {
    return this.#inForce.resolved;
  }

  #chooseSubnets(definition: LabDefinition): ReadonlyMap<string, string> {
    return keepSubnets(this.name, definition, this.#usedElsewhere(), this.#opened && !this.#running());
  }

  #usedElsewhere(): UsedSubnet[] {
    return usedElsewhere(this.name, this.#options.tables.networks.rows());
  }

  #settleGuests(): void {
    const dir = dirname(this.file);
    this.#guests.settle(
      this.#resolved.guests.map((guest) => guestSpec(guest, dir)),
      this.#engine,
    );
    void this.#plans.look(this.guests, false).then(() => this.#changed());
  }

  /**
   * Checks what `up` can be refused for at once. Throws LAB_FILE_INVALID, LAB_FILE_MISSING, LAB_BUSY,
   * LAB_UP_IN_OTHER_SCOPE.
   */
  async beforeUp(scope: Scope | undefined): Promise<void> {
    this.#refuseBusy();
    await this.#inForce.require();
    this.#refuseBusy();
    if (scope === undefined || scope === this.scope) return;
    if (this.#running())
      throw new TapyardError(
        'LAB_UP_IN_OTHER_SCOPE',
        `The lab ${this.name} is up in the ${this.scope} scope.`,
        {
          hint: 'Bring it down first: tapyard down.',
          subject: this.name,
        },
      );
    this.#formerScope = this.scope;
    await this.#changeScope(scope);
  }

  /** As {@link beforeUp}, and throws MODE_NEEDS_HOST_SCOPE. */
  async beforeMove(scope: Scope): Promise<void> {
    await this.beforeUp(undefined);
    checkModes(this.name, this.#resolved.networks, scope);
  }

  /**
   * The lab is down. Told before anything is made there: a core that is killed on the way leaves a lab to be
   * found in that scope.
   */
  async #changeScope(scope: Scope): Promise<void> {
    this.#engineSubscription.close();
    this.#engine.close();
    this.#engine = this.#options.engine(scope, this.#acts);
    this.#engineSubscription = this.#engine.onChange(() => this.#changed());
    this.#settleGuests();
    await this.#noteMove(undefined);
  }

  async #noteMove(scope: Scope | undefined): Promise<void> {
    this.#movesTo = scope;
    await this.#options.scopeChanged();
  }

  /** Ends what a core that was killed in a move has left in the other scope, where it is there by now. Never rejects. */
  async #endMove(): Promise<void> {
    if (this.#movesTo === undefined) return;
    const other = this.#options.engine(this.#movesTo, this.#acts);
    try {
      if (await other.endIdle()) this.#movesTo = undefined;
    } catch {
      // The next `down` tries again.
    } finally {
      other.close();
    }
  }

  #refuseBusy(): void {
    if (!this.busy) return;
    const how = this.#moving ? 'being moved to another scope' : `${this.#busy} already`;
    throw new TapyardError('LAB_BUSY', `The lab ${this.name} is ${how}.`, {
      hint: 'Wait until that is done, or cancel it.',
      subject: this.name,
    });
  }

  #refuseWhileStopping(): void {
    if (this.#busy === 'stopping') this.#refuseBusy();
  }

  /** Throws LAB_BUSY. */
  beforeDown(): void {
    this.#refuseBusy();
  }

  /** See {@link bringUp}. */
  async up(job: Job, waitReachable: number): Promise<void> {
    this.#refuseBusy();
    await this.#up(job, waitReachable);
  }

  async #up(job: Job, waitReachable: number): Promise<void> {
    const former = this.#formerScope;
    this.#formerScope = undefined;
    await this.#working('starting', async () => {
      // One that is cancelled or fails leaves nothing, these neither.
      removeStepTimes(this.name);
      try {
        await bringUp(this.#ground(), job, waitReachable);
      } catch (thrown) {
        // Nor the scope that was asked for: the next up would be refused for what this one could not have.
        if (former !== undefined && !this.#running()) await this.#changeScope(former);
        throw thrown;
      }
      writeStepTimes(this.name, this.#records.times(this.#statuses()));
      await this.#settleForwards();
    });
  }

  /** See {@link bringDown}. */
  async down(job: Job, force: boolean): Promise<void> {
    this.#refuseBusy();
    await this.#down(job, force);
  }

  async #down(job: Job, force: boolean): Promise<void> {
    await this.#working('stopping', async () => {
      removeStepTimes(this.name);
      await this.#settleForwards();
      await bringDown(this.#ground(), job, force);
      this.#records.clear();
      this.#guests.dropGone();
      if (this.#movesTo !== undefined && !this.#moving) {
        await this.#endMove();
        await this.#options.scopeChanged();
      }
    });
  }

  /** See {@link moveScope}; of a lab that is down only what it will be is changed. Throws LAB_BUSY too. */
  async move(job: Job, scope: Scope, waitReachable: number): Promise<void> {
    this.#refuseBusy();
    if (scope === this.scope) return;
    if (!this.#running()) {
      await this.#changeScope(scope);
      this.publish();
      return;
    }
    this.#moving = true;
    try {
      await moveScope(
        {
          lab: this.name,
          former: this.scope,
          engine: (other) => this.#options.engine(other, this.#acts),
          down: (work) => this.#down(work, false),
          up: (work) => this.#up(work, waitReachable),
          changeScope: (other) => this.#changeScope(other),
          movesTo: (other) => this.#noteMove(other),
          release: () => this.#engine.release(),
        },
        job,
        scope,
      );
    } finally {
      this.#moving = false;
      this.publish();
    }
  }

  async #working(how: 'starting' | 'stopping', work: () => Promise<void>): Promise<void> {
    this.#busy = how;
    this.#error = null;
    this.#failed = false;
    this.#records.forgetFailures();
    this.publish();
    try {
      await work();
    } catch (thrown) {
      const error = TapyardError.from(thrown);
      this.#failed = error.code !== 'ABORTED';
      this.#error = this.#failed ? error.toData() : null;
      throw error;
    } finally {
      this.#busy = undefined;
      this.#records.forgetDoing();
      this.publish();
    }
  }

  #ground(): Ground {
    return {
      lab: this.#resolved,
      engine: this.#engine,
      guests: this.guests,
      applied: this.#applied,
      preflight: () => this.#engine.preflight(this.#resolved.guests.map(({ name }) => this.guest(name))),
      step: (id, outcome) => {
        this.#records.put(id, outcome);
        this.#changed();
      },
    };
  }

  /** Starts one guest of a lab that is up. Throws LAB_NOT_UP, LAB_BUSY, and as netd and the guest's `start`. */
  async startGuest(name: string, signal: Parameters<GuestHandle['start']>[0]): Promise<void> {
    const guest = this.guest(name);
    this.#refuseWhileStopping();
    if (guest.spec.nics.length > 0) {
      if (!this.#running() || !this.#engine.picture)
        throw new TapyardError(
          'LAB_NOT_UP',
          `The lab ${this.name} is down, so ${name} would have no network.`,
          {
            hint: 'Bring the lab up: tapyard up.',
            subject: this.name,
          },
        );
      await this.#prepareNetworks(this.#resolved, new Set(guest.spec.nics.map((nic) => nic.network)));
    }
    // `down` may have begun meanwhile, and would not wait for a guest that starts behind its back.
    this.#refuseWhileStopping();
    await guest.start(signal);
  }

  /** Makes networks know what the file says by now: a guest that is new in it may have a reserved address. */
  async #prepareNetworks({ networks }: ResolvedLab, names: ReadonlySet<string>): Promise<void> {
    for (const network of networks) {
      if (!names.has(network.name)) continue;
      // Whether NAT is on is the switch's business: the file may be behind where it could not be written.
      const now = networkIn(this.#engine.picture, this.name, network.name);
      const wanted = network.mode === 'nat' && now?.mode === 'nat' ? { ...network, nat: now.nat } : network;
      if (isDeepStrictEqual(this.#applied.get(network.name), wanted)) continue;
      await this.#engine.applyNetwork(wanted);
      this.#applied.set(network.name, wanted);
    }
  }

  /**
   * Flips NAT in the kernel, then in the file. Off is answered once nothing reaches a guest any more. A file that
   * cannot be written is told in the lab's row; the kernel's change stands. Throws NO_SUCH_NETWORK, NO_NAT_SWITCH, LAB_NOT_UP, and what netd says.
   */
  async setNat(
    network: string,
    nat: boolean,
  ): Promise<{ nat: boolean; changed: boolean; flowsRemoved: number; ms: number }> {
    refuseWithoutSwitch(this.#resolved, network, this.#engine.picture);
    const begin = performance.now();
    const done = await this.#engine.setNat(network, nat);
    const ms = performance.now() - begin;
    const applied = this.#applied.get(network);
    if (applied?.mode === 'nat') this.#applied.set(network, { ...applied, nat });
    try {
      this.#inForce.take(await writeNat(this.file, network, nat));
      if (this.#error?.code === 'LAB_FILE_UNWRITABLE') this.#error = null;
    } catch (thrown) {
      this.#error = TapyardError.from(thrown).toData();
    }
    this.publish();
    if (done.drains_ms > 0) await delay(Math.max(0, begin + ms + done.drains_ms - performance.now()));
    return { nat: done.nat, changed: done.changed, flowsRemoved: done.flows_removed, ms };
  }

  /** See {@link createGuest}. Throws GUEST_NAME_TAKEN too. */
  async createGuest(name: string, guest: NewGuest, fileHash: string): Promise<void> {
    if (Object.hasOwn(this.#definition.guests, name) || this.#guests.handles.has(name))
      throw guestNameTaken(this.name, name);
    this.#inForce.take(await createGuest(this.file, name, guest, fileHash));
    this.publish();
  }

  /** See {@link removeGuest}. Throws NO_SUCH_GUEST too. `deleteDisk` is called once the file is written. */
  async removeGuest(name: string, fileHash: string, deleteDisk: () => Promise<void>): Promise<void> {
    this.#inForce.take(await removeGuest(this.file, this.guest(name), fileHash));
    await deleteDisk();
    this.publish();
  }

  /** See {@link addNic}; which NIC of the guest it is. Throws LAB_BUSY too. */
  async addNic(guest: string, nic: NicDefinition, fileHash: string | undefined): Promise<number> {
    await this.#editNics(guest, (ground) => addNic(ground, nic, fileHash));
    return (this.#definition.guests[guest]?.nics.length ?? 1) - 1;
  }

  /** See {@link removeNic}. Throws LAB_BUSY too. */
  async removeNic(guest: string, index: number, fileHash: string | undefined): Promise<void> {
    await this.#editNics(guest, (ground) => removeNic(ground, index, fileHash));
  }

  /** See {@link shapeNic}. Throws NO_SUCH_GUEST, LAB_BUSY too. */
  async setShape(
    guest: string,
    nic: number,
    shape: ShapeDefinition,
  ): Promise<{ changed: boolean; live: boolean }> {
    let done = { changed: false, live: false };
    await this.#editNics(guest, async (ground) => {
      const { file, changed, live } = await shapeNic(ground, nic, shape);
      done = { changed, live };
      return file;
    });
    return done;
  }

  async #editNics(guest: string, edit: (ground: NicGround) => Promise<LoadedFile>): Promise<void> {
    const ground: NicGround = {
      file: this.file,
      guest: this.guest(guest),
      resolve: (definition) => resolveLab(definition, this.#chooseSubnets(definition)),
      prepare: (lab, network) => this.#prepareNetworks(lab, new Set([network])),
      shapeOf: (nic) => tapIn(this.#engine.picture, this.name, guest, nic)?.shape ?? noShape,
      setShape: (network, nic, shape) => this.#engine.setShape(network, guest, nic, shape),
    };
    const done = this.#nicEdits.then(async () => {
      this.#nicsEdited = guest;
      try {
        await this.#editing(() => edit(ground));
      } finally {
        this.#nicsEdited = null;
        this.publish();
      }
    });
    this.#nicEdits = done.catch(() => undefined);
    await done;
  }

  /** See {@link offerSubnet}. */
  subnets(): ReturnType<typeof offerSubnet> {
    return offerSubnet(this.#resolved, this.#usedElsewhere(), this.#running());
  }

  /** Adds a network to the file, and where the lab is up to the kernel first. See {@link createNetwork}. */
  createNetwork(name: string, network: NewNetwork, fileHash: string): Promise<void> {
    return this.#editing((ground) => createNetwork(ground, name, network, fileHash));
  }

  /** See {@link changeNetwork}. */
  changeNetwork(name: string, network: NewNetwork, fileHash: string): Promise<void> {
    return this.#editing((ground) => changeNetwork(ground, name, network, fileHash));
  }

  /** See {@link removeNetwork}. */
  async removeNetwork(name: string, fileHash: string): Promise<void> {
    const running = [...(this.#engine.picture?.links.values() ?? [])].flatMap(({ ours }) =>
      ours?.lab === this.name && ours.network === name && ours.guest ? [ours.guest] : [],
    );
    await this.#editing((ground) => removeNetwork(ground, name, running, fileHash));
    // In the host scope the last network is all that there was.
    if (!this.#running()) await this.#engine.release();
  }

  /** Throws LAB_BUSY, and what `edit` throws. */
  async #editing(edit: (ground: EditGround) => Promise<LoadedFile>): Promise<void> {
    this.#refuseBusy();
    const up = this.#running() && this.#engine.picture !== null;
    try {
      this.#inForce.take(await edit({ ...this.#ground(), file: this.file, up, resolve: resolveLab }));
      if (up) writeStepTimes(this.name, this.#records.times(this.#statuses()));
    } catch (thrown) {
      // Told to who asked; what is there is as it was.
      this.#records.forgetFailures();
      throw thrown;
    } finally {
      this.publish();
    }
  }

  /** See {@link addForward}. Throws NO_SUCH_GUEST, UDP_NEEDS_RULE too. */
  addForward(guest: string, forward: ForwardDefinition): Promise<void> {
    return this.#editForwards(guest, () => {
      // What its network lets in is told with the forward.
      refuseUdp({ guest, ...forward, mode: null }, this.#engine);
      return addForward(this.file, guest, forward);
    });
  }

  /** See {@link removeForward}. Throws NO_SUCH_GUEST too. */
  removeForward(guest: string, at: Listening): Promise<void> {
    return this.#editForwards(guest, () => removeForward(this.name, this.file, guest, at));
  }

  async #editForwards(guest: string, edit: () => Promise<LoadedFile>): Promise<void> {
    this.#refuseUnknownGuest(guest);
    this.#inForce.take(await edit());
    await this.#settleForwards();
    this.publish();
  }

  #refuseUnknownGuest(name: string): void {
    if (!Object.hasOwn(this.#definition.guests, name)) this.guest(name);
  }

  /**
   * Makes the forwards those of the file. They wait for a lab that comes up, and go before one that goes down;
   * while it comes up those that are there stay.
   */
  async #settleForwards(): Promise<void> {
    try {
      await this.#forwards.settle(this.#wantedForwards(), this.#engine);
    } catch {
      // What keeps netd's socket from having a path keeps the lab from coming up as well, and is told there.
    }
  }

  #wantedForwards(): WantedForward[] {
    const { picture } = this.#engine;
    const usable = this.#busy !== 'stopping' && this.#running();
    return this.#resolved.guests.flatMap((guest) => {
      const handle = this.#guests.handles.get(guest.name);
      const nics = handle ? guestRow(handle.spec, handle.status, guest, picture, false).nics : [];
      const nic = usable ? nics.find(({ address }) => address !== null) : undefined;
      const mode = this.#resolved.networks.find(({ name }) => name === nic?.network)?.mode ?? null;
      const to = { target: nic?.address ?? null, mode };
      return guest.forwards.map((forward) => ({ guest: guest.name, ...forward, ...to }));
    });
  }

  #statuses(): (readonly [string, GuestHandle['status']])[] {
    return [...this.guests].map(([name, { status, spec }]) => {
      // The steps count the NICs as the file does.
      const taps = spec.nics.flatMap((nic) => {
        const tap = tapOf(nic, status.taps);
        return tap ? [{ ...tap, nic: nic.index }] : [];
      });
      return [name, { ...status, taps }] as const;
    });
  }

  /** The recipe as a script; the rows of its steps are as new as it is. */
  async script(): Promise<string> {
    await this.#plans.look(this.guests, true);
    this.publish();
    return recipeScript(this.#recipeInput());
  }

  /** The recipe tells both tables once, with the first network. */
  #filterCommand(): string | null {
    const steps = recipeOf(this.#recipeInput());
    return steps.find(({ id }) => id.endsWith('/filter'))?.command ?? null;
  }

  #recipeInput(): RecipeInput {
    const { picture } = this.#engine;
    return recipeInput({
      lab: this.#resolved,
      scope: this.scope,
      picture,
      guests: this.guests,
      plans: this.#plans,
    });
  }

  #running(): boolean {
    const { picture, failure } = this.#engine;
    // netd is gone by itself: what it made is still there.
    if (failure !== null) return true;
    const networks = [...(picture?.networks.values() ?? [])].some((network) => network.lab === this.name);
    return networks || this.#guests.anyAlive || (picture !== null && this.scope === 'private');
  }

  #state(): LabRow['state'] {
    if (this.#busy !== undefined) return this.#busy;
    if (this.#failed) return 'failed';
    return this.#running() ? 'up' : 'down';
  }

  #changed(): void {
    if (this.#publishing || this.#closed) return;
    this.#publishing = true;
    queueMicrotask(() => this.publish());
  }

  /** Puts every row as it is now. */
  publish(): void {
    this.#publishing = false;
    if (this.#closed) return;
    const { picture, failure } = this.#engine;
    const wanted = new Map(this.#resolved.guests.map((guest) => [guest.name, guest]));
    const guests = [...this.guests].map(([name, handle]) =>
      guestRow(handle.spec, handle.status, wanted.get(name), picture, name === this.#nicsEdited),
    );
    if (this.#opened && this.#busy !== 'starting') void this.#settleForwards();
    const held: Held = { picture, guests: new Map(guests.map((row) => [row.name, row])) };
    putRows(this.#options.tables, {
      lab: {
        id: this.name,
        name: this.name,
        file: this.file,
        fileHash: this.#inForce.hash,
        problems: [...this.#inForce.problems],
        scope: this.scope,
        state: this.#state(),
        error: this.#error ?? failure?.toData() ?? null,
        uplink: picture ? uplinkRow(picture.uplink) : null,
      },
      guests,
      forwards: this.#forwards.rows(),
      networks: networkRows(
        this.name,
        this.#resolved.networks,
        this.#definition.networks,
        picture,
        this.#records.failures(this.#resolved.networks),
      ),
      // In the host scope a lab that is down has nothing to show of a namespace that other labs use.
      links: this.#running() ? linkRows(this.name, picture) : [],
      steps: stepRows(this.name, recipeOf(this.#recipeInput()), held, this.#records.with(this.#statuses())),
    });
  }

  /** Lets go: guests and networks run on. Its rows are taken away. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    this.#engineSubscription.close();
    this.#engine.close();
    await this.#forwards.release();
    await this.#guests.release();
    this.#acts.close();
    dropRows(this.#options.tables, this.name);
  }
}
