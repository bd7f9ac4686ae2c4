// SPDX-License-Identifier: Apache-2.0
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { TapyardError } from '../../contract/error.ts';
import { z } from '../../contract/zod.ts';
import { errnoOf } from '../host/atomic-write.ts';
import { endProcess, isAlive, lookUp, waitForEnd, type ProcessId } from '../host/process.ts';
import { announcesEnd, conditionOf, type Condition, type Ending } from './lifecycle.ts';
import { Qmp, type QmpEvent } from './qmp.ts';
import { untilAborted, within } from './waiting.ts';

/** QEMU listens some 50 ms after its exec; on a busy computer without KVM it takes its time. */
const monitorDeadlineMs = 15_000;
/** From the closing of the monitor to the kernel's word that the process is over. */
const endDeadlineMs = 2000;

const StatusReply = z.looseObject({ status: z.string() });

/** How a connection to a machine ended. */
export interface MachineEnd {
  /** QEMU said before that it would end, so it is no crash. */
  readonly announced: boolean;
  readonly ending: Ending;
  /** The process is over. False where only the monitor's connection broke. */
  readonly over: boolean;
}

/** How to find a QEMU. */
export interface MachineAddress {
  readonly id: ProcessId;
  /** The monitor's socket. */
  readonly qmp: string;
  /** How the process ends, where it is our child. */
  readonly child?: Promise<Ending>;
}

/** A QEMU that runs: its process and its monitor, from the first answer to its end. */
export class Machine {
  readonly id: ProcessId;
  /** Settles once, when the monitor was closed and it is known whether the process is over. Never rejects. */
  readonly end: Promise<MachineEnd>;
  readonly #qmp: Qmp;
  #announced = false;
  #released = false;

  private constructor({ id, child }: MachineAddress, qmp: Qmp, onEvent: (event: QmpEvent) => void) {
    this.id = id;
    this.#qmp = qmp;
    this.end = new Promise((resolve) => {
      qmp.listen({
        event: (event) => {
          if (announcesEnd(event)) this.#announced = true;
          onEvent(event);
        },
        closed: () => {
          if (this.#released) resolve({ announced: false, ending: { kind: 'unknown' }, over: false });
          else
            void endOf(id, child).then((ending) => {
              resolve({
                announced: this.#announced,
                ending: ending ?? { kind: 'unknown' },
                over: ending !== undefined,
              });
            });
        },
      });
    });
  }

  /**
   * Connects to the monitor as soon as QEMU listens; undefined when the process is over before. Events from the
   * first on go to `onEvent`. Throws QMP_FAILED, DEADLINE, ABORTED.
   */
  static async meet(
    address: MachineAddress,
    onEvent: (event: QmpEvent) => void,
    abort?: AbortSignal,
  ): Promise<Machine | undefined> {
    let over = false;
    void address.child?.then(() => {
      over = true;
    });
    const until = performance.now() + monitorDeadlineMs;
    for (;;) {
      try {
        const qmp = await untilAborted(Qmp.connect(address.qmp), abort);
        return new Machine(address, qmp, onEvent);
      } catch (thrown) {
        if (abort?.aborted === true) throw thrown;
        if (over || (address.child === undefined && !isAlive(address.id))) return undefined;
        // It has not bound its socket yet, or not listened. Any other failure stays: another client has the monitor.
        const notYet =
          thrown instanceof TapyardError && ['ENOENT', 'ECONNREFUSED'].includes(errnoOf(thrown.cause) ?? '');
        if (!notYet || performance.now() > until) throw thrown;
        await delay(3);
      }
    }
  }

  /** Runs a monitor command. Throws QMP_FAILED, DEADLINE. */
  async execute(command: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.#qmp.execute(command, parameters);
  }

  /** Runs a monitor command and gives what it answers. Throws QMP_FAILED, DEADLINE. */
  async ask(command: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return await this.#qmp.execute(command, parameters);
  }

  /** What QEMU says its state is. Throws QMP_FAILED, DEADLINE. */
  async condition(): Promise<Condition> {
    const reply = StatusReply.safeParse(await this.#qmp.execute('query-status'));
    if (!reply.success)
      throw new TapyardError('QMP_FAILED', 'QEMU answered query-status with something unknown.');
    return conditionOf(reply.data.status);
  }

  /** CPU time so far in clock ticks; undefined when it is over. */
  cpuTicks(): number | undefined {
    return lookUp(this.id.pid)?.cpuTicks;
  }

  /** Ends QEMU: it is asked to (which flushes disks), then told, then killed. False when even that did not help. */
  async quit(): Promise<boolean> {
    try {
      await this.#qmp.execute('quit', {}, { deadlineMs: 1000 });
    } catch {
      // It hangs, or was gone already: what follows makes sure.
    }
    if (await waitForEnd(this.id, 1000)) return true;
    this.#announced = true;
    return await endProcess(this.id, 500);
  }

  /** Lets go of the monitor; QEMU runs on, and `end` says that it is not over. */
  release(): void {
    this.#released = true;
    this.#qmp.close();
  }
}

/** How the process ended, undefined when it has not: the sockets of a process close a moment before it is over. */
async function endOf(id: ProcessId, child: Promise<Ending> | undefined): Promise<Ending | undefined> {
  if (child !== undefined) return await within(child, endDeadlineMs);
  return (await waitForEnd(id, endDeadlineMs)) ? { kind: 'unknown' } : undefined;
}

/** Whether a process accepts connections on a unix socket. */
export async function somebodyListens(path: string): Promise<boolean> {
  const socket = connect({ path });
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => {
        resolve(true);
      });
      // ENOENT: no socket. ECONNREFUSED: its process is gone. EAGAIN: QEMU, whose queue of one place is full.
      socket.once('error', (error) => {
        resolve(!['ENOENT', 'ECONNREFUSED'].includes(errnoOf(error) ?? ''));
      });
    });
  } finally {
    socket.destroy();
  }
}
