// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { z } from '../../electron/contract/zod.ts';
import { checkoutInside, until, type World } from '../world/world.ts';
import { buildForOldElectron } from './old-build.ts';
import type { Asked } from './told.ts';

/** Where set-up unpacked it (scripts/setup/old-electron.mjs), as processes of a world see it. */
const electron = `${checkoutInside}/.cache/electron-9/electron`;

const Told = z.discriminatedUnion('t', [
  z.object({ t: z.literal('shown'), windows: z.number() }),
  z.object({
    t: z.literal('answer'),
    id: z.number(),
    value: z.unknown(),
    failed: z.string().optional(),
  }),
  z.object({ t: z.literal('asked'), question: z.string() }),
  z.object({ t: z.literal('failed'), reason: z.string() }),
]);

const Look = z.object({
  url: z.string(),
  title: z.string(),
  windows: z.number(),
  /** Of the page's process. */
  pid: z.number(),
  versions: z.record(z.string(), z.string()),
});
export type Look = z.infer<typeof Look>;

type Answer = { readonly value?: unknown; readonly failed?: string | undefined };
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

/** How long Electron may take for anything on a busy machine, ms. */
const patience = 45_000;

/** The desktop program in a real Electron, on a display of its own, as the world's ordinary user. */
export class Desktop {
  /** What the program asked its user, who cancelled each time. */
  readonly questions: string[] = [];
  readonly #world: World;
  readonly #display: ChildProcess;
  readonly #command: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #program: ChildProcess | undefined;
  #said = '';
  #shown = false;
  #nextId = 1;

  private constructor(world: World, display: ChildProcess, number: string, application: string) {
    this.#world = world;
    this.#display = display;
    this.#environment = { DISPLAY: `:${number}` };
    /*
     * Chromium's sandbox of namespaces is on, as it is for users. Its filter of system calls is not: the one of
     * 2021 does not know those that today's libc makes.
     */
    this.#command = [electron, '--disable-seccomp-filter-sandbox', application];
  }

  /** Builds the program for a display of its own. Nothing runs yet. */
  static async make(world: World): Promise<Desktop> {
    const application = path.join(world.dir, 'application');
    await buildForOldElectron(application);
    const display = world.start([
      'Xvfb',
      '-displayfd',
      '1',
      '-screen',
      '0',
      '1440x900x24',
      '-nolisten',
      'tcp',
    ]);
    let number = '';
    display.stdout?.setEncoding('utf8').on('data', (text: string) => (number += text));
    await until('Xvfb has a display', patience, () => number.endsWith('\n'));
    return new Desktop(world, display, number.trim(), application);
  }

  /** Starts the program and waits until its window is shown. */
  async start(): Promise<void> {
    const program = this.#world.start(this.#command, { env: this.#environment });
    this.#program = program;
    this.#shown = false;
    program.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    if (program.stdout !== null) {
      createInterface({ input: program.stdout }).on('line', (line) => this.#hear(line));
    }
    await until('the window is shown', patience, () => {
      if (program.exitCode !== null) throw new Error(`Electron ended with ${program.exitCode}`);
      return this.#shown;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.#said}`);
    });
  }

  #hear(line: string): void {
    const told = Told.parse(JSON.parse(line));
    if (told.t === 'shown') this.#shown = true;
    else if (told.t === 'asked') this.questions.push(told.question);
    else if (told.t === 'failed') this.#said += `${told.reason}\n`;
    else this.#answers.get(told.id)?.(told);
  }

  async #ask(asked: WithoutId<Asked>): Promise<unknown> {
    const id = this.#nextId;
    this.#nextId += 1;
    const answer = new Promise<Answer>((resolve) => this.#answers.set(id, resolve));
    this.#running.stdin?.write(`${JSON.stringify({ ...asked, id })}\n`);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Answer>((resolve) => {
      timer = setTimeout(
        () => resolve({ failed: `no answer within ${patience} ms\n${this.#said}` }),
        patience,
      );
    });
    const { value, failed } = await Promise.race([answer, late]);
    clearTimeout(timer);
    this.#answers.delete(id);
    if (failed !== undefined) throw new Error(`${JSON.stringify(asked)}: ${failed}`);
    return value;
  }

  /** The value of an expression in the page, awaited. */
  evaluate(expression: string): Promise<unknown> {
    return this.#ask({ t: 'evaluate', expression });
  }

  async look(): Promise<Look> {
    return Look.parse(await this.#ask({ t: 'look' }));
  }

  get #running(): ChildProcess {
    if (this.#program === undefined) throw new Error('Electron was not started');
    return this.#program;
  }

  /** The pid of the main process. */
  get pid(): number {
    const { pid } = this.#running;
    if (pid === undefined) throw new Error('Electron did not start');
    return pid;
  }

  /** Starts the program once more, as an icon does that is clicked again, and answers its exit code. */
  async startAgain(): Promise<number | null> {
    const { code } = await this.#world.run(this.#command, { env: this.#environment, timeout: patience });
    return code;
  }

  /** Closes the window as its user does, and answers the program's exit code. */
  async closeWindow(): Promise<number | null> {
    const ended = this.#ended();
    await this.#ask({ t: 'close' });
    return ended;
  }

  /** Asks the program to end, as a session that is left does, and answers its exit code. */
  terminate(): Promise<number | null> {
    const ended = this.#ended();
    this.#running.kill('SIGTERM');
    return ended;
  }

  async #ended(): Promise<number | null> {
    const program = this.#running;
    await until('the program ends', patience, () => program.exitCode !== null || program.signalCode !== null);
    return program.exitCode;
  }

  /** Ends the display. Were it killed, it would leave its lock and its socket in /tmp. */
  async end(): Promise<void> {
    if (this.#display.exitCode !== null) return;
    const ended = once(this.#display, 'exit');
    this.#display.kill('SIGTERM');
    await ended;
  }
}
