// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { AbortLike, Subscription } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import type { ByteIntake, ByteSink } from '../../contract/server.ts';
import { openScreen } from '../console/screen.ts';
import { makeSerialInput } from '../console/serial-input.ts';
import { SerialConsole } from '../console/serial.ts';
import { endProcess, isAlive, lookUp, type ProcessId, uidOf } from '../host/process.ts';
import { makePrivateDir, ownUid } from '../host/runtime-dir.ts';
import { GuestNics } from './guest-nics.ts';
import { deletedNic } from './hot-plug.ts';
import { launch, qemuFailed, type Launched } from './launch.ts';
import {
  afterEnd,
  afterEvent,
  afterUnseenEnd,
  asleep,
  decide,
  refusal,
  type Condition,
  type Verb,
} from './lifecycle.ts';
import { Machine, somebodyListens, type MachineAddress } from './machine.ts';
import { type Plan, plan, prepare, qemuLogPath, serialLogPath } from './prepare.ts';
import {
  guestDirs,
  guestSockets,
  type GuestDirs,
  type GuestSpec,
  type GuestStatus,
  type NicSpec,
} from './spec.ts';
import { readLastEnd, readStateFile, removeRuntime, writeLastEnd, writeStateFile } from './state-file.ts';
import { nodeSignal, throwIfAborted, untilAborted, within } from './waiting.ts';

/** A killed process is over within milliseconds; this is for one that hangs in the kernel. */
const killDeadlineMs = 2000;
/** QEMU flushes its disks on SIGTERM, as on `quit`. */
const killGraceMs = 500;
/** A guest that still boots has no ear for the power button; it is pressed again. */
const pressAgainMs = 2000;
/** How often a QEMU that is not heard any more is looked at: nothing else tells that it is over. */
const lookAtLostMs = 500;

/**
 * One guest, over all its starts: its QEMU process, monitor and consoles. Its state is what QEMU's events and the
 * kernel say, never what was asked for; `lifecycle.ts` decides what a verb means in a state and what an event does.
 */
export class Guest {
  readonly dirs: GuestDirs;
  readonly serial: SerialConsole;
  readonly #nics: GuestNics;
  #spec: GuestSpec;
  #status: GuestStatus;
  #machine: Machine | undefined;
  /** A QEMU that runs and whose monitor nobody here speaks to: it hangs, says garbage, or another has it. */
  #lost: ProcessId | undefined;
  #starting: Promise<void> | undefined;
  /** Settles after the status says how the last machine ended. */
  #settled: Promise<void> = Promise.resolve();
  readonly #listeners = new Set<() => void>();
  #lastCpu: { readonly ticks: number; readonly at: number } | undefined;
  #released = false;

  /** Nothing is started or looked at yet. Throws RUNTIME_PATH_TOO_LONG, RUNTIME_DIR_UNSAFE, RUNTIME_DIR_MISSING. */
  constructor(spec: GuestSpec, dirs: GuestDirs = guestDirs(spec.lab, spec.name)) {
    this.#spec = spec;
    this.dirs = dirs;
    this.serial = new SerialConsole(serialLogPath(dirs));
    this.#status = {
      state: 'shut off',
      reason: null,
      since: Date.now(),
      pid: null,
      accelerator: null,
      taps: [],
      cut: [],
      sockets: guestSockets(dirs.runtime),
      serialRecord: this.serial.record.path,
      error: null,
      argv: null,
      startMs: null,
    };
    this.#nics = new GuestNics({
      id: this.id,
      spec: () => this.#spec,
      status: () => this.#status,
      machine: () => this.#machine,
      refuseUnheard: () => {
        if (this.#lost !== undefined) throw this.#notHeard(this.#lost);
      },
      onChange: (listener) => this.onChange(listener),
      set: (change) => this.#set(change),
      note: (change) => {
        const file = readStateFile(dirs.runtime);
        if (file !== undefined) writeStateFile(dirs.runtime, { ...file, ...change });
      },
    });
  }

  /** The guest's id in tables and messages: `lab/name`. */
  get id(): string {
    return `${this.#spec.lab}/${this.#spec.name}`;
  }

  get spec(): GuestSpec {
    return this.#spec;
  }

  /** What the next start makes of it; a running guest stays as it is. Lab and name must be the same. */
  set spec(spec: GuestSpec) {
    if (spec.lab !== this.#spec.lab || spec.name !== this.#spec.name) {
      throw new TapyardError('INTERNAL', `the spec of ${spec.lab}/${spec.name} was given to ${this.id}`);
    }
    this.#spec = spec;
  }

  get status(): GuestStatus {
    return this.#status;
  }

  /**
   * How it would be started now; makes nothing. undefined where that takes a probe of the accelerator, some seconds,
   * and `probe` does not allow it. Throws IMAGE_*, QEMU_MISSING.
   */
  async plan(probe: boolean): Promise<Plan | undefined> {
    return await plan(this.#spec, this.dirs, this.#status.sockets, probe);
  }

  /** Calls `listener` after each change of `status`. */
  onChange(listener: () => void): Subscription {
    this.#listeners.add(listener);
    return {
      close: () => {
        this.#listeners.delete(listener);
      },
    };
  }

  /**
   * Takes over a QEMU that an earlier core started: by the state file, the process's start time and user, and its
   * monitor. False when there is none (what one left behind is removed). Throws QMP_FAILED where it runs and does
   * not talk, STATE_FILE_INVALID where a QEMU runs that the state file does not tell of.
   */
  async adopt(): Promise<boolean> {
    if (this.#starting !== undefined) await this.#starting;
    if (this.#lost !== undefined) throw this.#notHeard(this.#lost);
    return this.#machine !== undefined || (await this.#adopt());
  }

  /**
   * Starts it; resolves when QEMU's monitor answers. A second start while one is under way gets the same result.
   * An abort kills what was started and leaves nothing. Throws GUEST_STATE, ABORTED, IMAGE_*, QEMU_*, DISK_FULL,
   * RUNTIME_*, NETD_MISSING, DEADLINE, and what netd says of a NIC (NIC_IN_USE, NO_SUCH_NETWORK, TUN_…).
   */
  async start({ signal }: { signal?: AbortLike } = {}): Promise<void> {
    if (this.#starting === undefined) {
      if (this.#decide('start') === 'holds') return;
      const abort = nodeSignal(signal);
      this.#starting = this.#start(abort.signal).finally(() => {
        this.#starting = undefined;
        abort.close();
      });
    }
    await this.#starting;
  }

  /** Presses the power button. Resolves when QEMU has taken it; the guest decides what follows. Throws GUEST_STATE, QMP_FAILED, DEADLINE. */
  async shutdown(): Promise<void> {
    await this.#command('shutdown', 'system_powerdown');
  }

  /** Suspends the processors. Throws GUEST_STATE, QMP_FAILED, DEADLINE. */
  async pause(): Promise<void> {
    await this.#command('pause', 'stop');
  }

  /** Lets the processors go on. Throws GUEST_STATE, QMP_FAILED, DEADLINE. */
  async resume(): Promise<void> {
    await this.#command('resume', this.#status.reason === asleep ? 'system_wakeup' : 'cont');
  }

  /** Presses the reset button, also of a guest that has panicked. Throws GUEST_STATE, QMP_FAILED, DEADLINE. */
  async reset(): Promise<void> {
    const panicked = this.#status.state === 'crashed';
    await this.#command('reset', 'system_reset');
    if (panicked) await this.#machine?.execute('cont');
  }

  /**
   * Cuts the cable at a NIC or mends it; true when that changed something. QEMU's answer is what is known of it, so it
   * is noted for the next core. Throws NO_SUCH_NIC, GUEST_STATE, QMP_FAILED, DEADLINE.
   */
  setLink(nic: number, up: boolean): Promise<boolean> {
    return this.#nics.setLink(nic, up);
  }

  /**
   * Gives a guest that runs one more NIC; one that it has is left alone. Throws GUEST_STATE, NO_FREE_PORT, what netd
   * says of a NIC, QMP_FAILED, DEADLINE, NETD_MISSING; it has none then.
   */
  plug(nic: Omit<NicSpec, 'index'>): Promise<void> {
    return this.#nics.plug(nic);
  }

  /**
   * Takes a NIC out of a guest that runs, which has to let go of it; one that it does not have is fine. Throws
   * GUEST_STATE, NIC_NOT_RELEASED, QMP_FAILED, DEADLINE; it has the NIC then.
   */
  unplug(nic: Pick<NicSpec, 'network' | 'mac'>): Promise<void> {
    return this.#nics.unplug(nic);
  }

  /** Pulls the plug: resolves when QEMU is gone. A start under way is waited for. Throws GUEST_STATE, QMP_FAILED. */
  async forceOff(): Promise<void> {
    await this.#starting?.catch(() => undefined);
    await this.#quit();
  }

  /** Shuts it down and forces it off where it is not off after `deadlineMs` (0: at once). Resolves when QEMU is gone. */
  async stop(deadlineMs: number): Promise<void> {
    await this.#starting?.catch(() => undefined);
    const until = performance.now() + deadlineMs;
    while (this.#machine !== undefined && this.#status.state !== 'crashed' && performance.now() < until) {
      try {
        if (this.#status.state === 'paused') await this.resume();
        await this.shutdown();
      } catch {
        // It does not take it: forcing it off is what is left.
        break;
      }
      await within(this.#settled, Math.min(pressAgainMs, until - performance.now()));
    }
    await this.#quit();
  }

  /** A viewer of the screen, with a connection of its own. Throws CONSOLE_CLOSED while the guest is off. */
  async openScreen(sink: ByteSink): Promise<ByteIntake> {
    return await openScreen(this.#status.sockets.vnc, sink);
  }

  /** CPU time of QEMU since the last call, in percent of one core; null at the first call and while it is off. */
  cpu(): number | null {
    const before = this.#lastCpu;
    const ticks = this.#machine?.cpuTicks();
    const at = performance.now();
    this.#lastCpu = ticks === undefined ? undefined : { ticks, at };
    if (ticks === undefined || before === undefined || ticks < before.ticks || at <= before.at) return null;
    // A tick of /proc is 10 ms on Linux (USER_HZ, times(2)).
    return ((ticks - before.ticks) * 10 * 100) / (at - before.at);
  }

  /** Lets go of QEMU, which runs on, and ends the viewers. For the end of the core. A start under way is waited for. */
  async release(): Promise<void> {
    await this.#starting?.catch(() => undefined);
    this.#released = true;
    this.#listeners.clear();
    this.#machine?.release();
    await this.serial.close();
  }

  /** `since` only where it is not now. */
  #set(change: Partial<GuestStatus>, since?: number): void {
    if (this.#released) return;
    const moved = change.state !== undefined && change.state !== this.#status.state;
    const began = since ?? (moved ? Date.now() : this.#status.since);
    this.#status = { ...this.#status, ...change, since: began };
    for (const listener of this.#listeners) listener();
  }

  get #condition(): Condition {
    return { state: this.#status.state, reason: this.#status.reason };
  }

  #decide(verb: Verb): 'act' | 'holds' {
    const { state } = this.#status;
    const verdict = decide(verb, state, this.#machine !== undefined);
    if (verdict === 'refuse') throw refusal(verb, this.id, state);
    return verdict;
  }

  async #command(verb: Verb, command: string): Promise<void> {
    if (this.#decide(verb) === 'holds') return;
    if (this.#lost !== undefined) throw this.#notHeard(this.#lost);
    if (this.#machine === undefined) throw refusal(verb, this.id, this.#status.state);
    await this.#machine.execute(command);
  }

  async #quit(): Promise<void> {
    const machine = this.#machine;
    const id = machine?.id ?? this.#lost;
    if (id === undefined) return;
    if (!(await (machine?.quit() ?? endProcess(id, killGraceMs)))) {
      throw new TapyardError(
        'QMP_FAILED',
        `QEMU of ${this.id} (process ${id.pid}) does not end, not even when killed.`,
        {
          hint: 'It hangs in the kernel, often on a disk or network file system that does not answer.',
          subject: this.id,
        },
      );
    }
    await this.#settled;
    // Its monitor may have gone before it did.
    if (this.#lost === id) this.#lostEnded({ state: 'shut off', reason: 'forced off' });
  }

  /** From now on there is a QEMU that runs and is not heard; what is known of it is shown, with the error. */
  #lose(id: ProcessId, known: Partial<GuestStatus>): void {
    this.#lost = id;
    this.#set({ ...known, error: this.#notHeard(id).toData() });
    void this.#watchLost(id);
  }

  async #watchLost(id: ProcessId): Promise<void> {
    while (this.#lost === id && !this.#released) {
      if (!isAlive(id)) this.#lostEnded(afterEnd(this.#condition, false, { kind: 'unknown' }));
      else await delay(lookAtLostMs, undefined, { ref: false });
    }
  }

  #lostEnded(condition: Condition): void {
    this.#lost = undefined;
    this.#set({ error: null });
    this.#ended(condition);
  }

  #notHeard({ pid }: ProcessId): TapyardError {
    return new TapyardError(
      'QMP_FAILED',
      `QEMU of ${this.id} (process ${pid}) runs, and its monitor cannot be used.`,
      {
        hint: 'It may hang, or another program may hold its monitor. Start Tapyard again to try once more, or force it off.',
        subject: this.id,
      },
    );
  }

  async #start(abort: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    // A guest that panicked still has its QEMU.
    await this.#quit();
    const { sockets } = this.#status;
    // Another core may have started it since we looked; two QEMUs on one disk would destroy it.
    if ((await somebodyListens(sockets.qmp)) && (await this.#adopt())) return;
    this.#set({ state: 'starting', reason: null, error: null, startMs: null });
    let launched: Launched | undefined;
    try {
      const { argv, nics, accelerator } = await prepare(this.#spec, this.dirs, sockets, abort);
      throwIfAborted(abort);
      removeRuntime(this.dirs.runtime);
      makePrivateDir(this.dirs.runtime);
      await makeSerialInput(sockets.serial, abort);
      launched = launch(this.#spec, nics, argv, {
        input: sockets.serial,
        record: this.serial.record,
        log: qemuLogPath(this.dirs),
      });
      const { pid } = launched;
      const startTime = lookUp(pid)?.startTime ?? -1;
      const file = {
        version: 1,
        pid,
        startTime,
        accelerator: accelerator.use,
        since: Date.now(),
        argv,
        cut: [],
      } as const;
      writeStateFile(this.dirs.runtime, { ...file, taps: [] });
      const taps = await untilAborted(launched.taps, abort);
      if (taps.length > 0) writeStateFile(this.dirs.runtime, { ...file, taps });
      launched.begin();
      this.#set({ pid, accelerator: accelerator.use, taps, argv });
      if (!(await this.#follow({ id: { pid, startTime }, qmp: sockets.qmp, child: launched.ended }, abort))) {
        throw qemuFailed(this.id, await launched.ended, launched.lastWords(), qemuLogPath(this.dirs));
      }
      this.#set({ startMs: performance.now() - startedAt });
    } catch (thrown) {
      await this.#undoStart(launched, TapyardError.from(thrown));
      throw thrown;
    }
  }

  /** Leaves nothing of a start that failed or was aborted. */
  async #undoStart(launched: Launched | undefined, error: TapyardError): Promise<void> {
    // Its end is ours to tell, not a crash.
    this.#machine?.release();
    this.#machine = undefined;
    this.serial.detach();
    launched?.kill();
    await within(launched?.ended, killDeadlineMs);
    removeRuntime(this.dirs.runtime);
    const aborted = error.code === 'ABORTED';
    this.#set({
      state: 'shut off',
      reason: aborted ? 'the start was stopped' : 'it could not be started',
      pid: null,
      accelerator: null,
      taps: [],
      cut: [],
      error: aborted ? null : error.toData(),
    });
  }

  async #adopt(): Promise<boolean> {
    const { runtime } = this.dirs;
    const { sockets } = this.#status;
    const file = readStateFile(runtime);
    if (file === undefined) {
      if (await somebodyListens(sockets.qmp)) {
        throw new TapyardError(
          'STATE_FILE_INVALID',
          `A QEMU listens on ${sockets.qmp}, but Tapyard's note about it (guest.json) is missing or damaged.`,
          {
            hint: `Look for it with: pgrep -af ${sockets.qmp} – end it (kill PID) and try again.`,
            subject: sockets.qmp,
          },
        );
      }
      removeRuntime(runtime);
      const last = readLastEnd(this.dirs.state);
      if (last !== undefined) this.#set({ state: last.state, reason: last.reason }, last.since);
      return false;
    }
    const id = { pid: file.pid, startTime: file.startTime };
    const ours = isAlive(id) && uidOf(file.pid) === ownUid();
    const known = {
      pid: file.pid,
      accelerator: file.accelerator,
      taps: file.taps.map((tap) => ({ ...tap, steps: [] })),
      argv: file.argv,
      cut: file.cut,
      error: null,
    };
    try {
      if (ours && (await this.#follow({ id, qmp: sockets.qmp }, undefined, known, file.since))) {
        await this.#nics.settle();
        return true;
      }
    } catch (thrown) {
      this.#machine?.release();
      this.#machine = undefined;
      this.serial.detach();
      this.#lose(id, { ...known, state: 'running', reason: null });
      throw thrown;
    }
    this.#ended(afterUnseenEnd(existsSync(sockets.qmp)));
    return false;
  }

  /** Meets a QEMU and follows it from then on; false when it is over before it answers. */
  async #follow(
    address: MachineAddress,
    abort: AbortSignal | undefined,
    known: Partial<GuestStatus> = {},
    since?: number,
  ): Promise<boolean> {
    const machine = await Machine.meet(
      address,
      (event) => {
        const number = deletedNic(event);
        if (number !== undefined) void this.#nics.letGo(number);
        const next = afterEvent(this.#condition, event);
        if (next.state !== this.#status.state || next.reason !== this.#status.reason) this.#set(next);
      },
      abort,
    );
    if (machine === undefined) return false;
    this.#machine = machine;
    const before = this.#status;
    this.#settled = this.#settle(machine);
    try {
      this.serial.attach(this.#status.sockets.serial);
      const condition = await untilAborted(machine.condition(), abort);
      // An event that came meanwhile has said more than this answer does.
      const moved = this.#status.state !== before.state || this.#status.reason !== before.reason;
      if (this.#machine === machine)
        this.#set(moved ? known : { ...known, ...condition }, moved ? undefined : since);
    } catch (thrown) {
      // It ended between its first answer and the second: how, its end has told.
      if (abort?.aborted === true || this.#machine === machine) throw thrown;
    }
    return true;
  }

  /** Waits for a machine's end and says how it came. */
  async #settle(machine: Machine): Promise<void> {
    const { announced, ending, over } = await machine.end;
    if (this.#released || this.#machine !== machine) return;
    this.#machine = undefined;
    this.serial.detach();
    if (!over) {
      this.#lose(machine.id, {});
      return;
    }
    this.#ended(afterEnd(this.#condition, announced, ending));
  }

  /** QEMU is gone: what it left is removed, and the next core will know how it went. */
  #ended(condition: Condition): void {
    removeRuntime(this.dirs.runtime);
    this.#set({ ...condition, pid: null, accelerator: null, taps: [], cut: [] });
    const { reason, since } = this.#status;
    const state = condition.state === 'crashed' ? 'crashed' : 'shut off';
    writeLastEnd(this.dirs.state, { version: 1, state, reason, since });
  }
}
