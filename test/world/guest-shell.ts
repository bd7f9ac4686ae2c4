// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Who, World } from './world.ts';

/**
 * A shell in a guest through `tapyard console GUEST`, its input and output piped: what a person types and reads
 * over serial. Each command is followed by a marker that only its execution can print.
 */
export class GuestShell {
  readonly #child: ChildProcess;
  #text = '';
  #errors = '';
  #ended = false;
  #serial = 0;
  #waiters: (() => void)[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk;
      this.#wake();
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.#errors += chunk));
    child.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Opens the console and waits for the prompt. `options` are more of `tapyard console`. */
  static async open(
    world: World,
    guest: string,
    who: Who = 'user',
    deadline = 30_000,
    options: readonly string[] = [],
  ): Promise<GuestShell> {
    const command = world.tapyardCommand(['console', guest, ...options]);
    const shell = new GuestShell(world.start(command, { as: who }));
    await shell.waitFor(/root@[a-z0-9-]+:\S*# /, deadline, () => shell.type('\r'));
    return shell;
  }

  /** All that was printed since the console was opened. */
  get text(): string {
    return this.#text;
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Waits until `pattern` is in what was printed since `from`; `nudge` is called once a second meanwhile. */
  async waitFor(pattern: RegExp, deadline: number, nudge?: () => void, from = 0): Promise<RegExpExecArray> {
    const end = Date.now() + deadline;
    let nextNudge = Date.now() + 1000;
    for (;;) {
      const match = pattern.exec(this.#text.slice(from));
      if (match !== null) return match;
      if (this.#ended)
        throw new Error(`the console ended while waiting for ${pattern}\n${this.#text}\n${this.#errors}`);
      if (Date.now() > end)
        throw new Error(
          `${pattern}: not within ${deadline} ms on the console:\n${this.#text}\n${this.#errors}`,
        );
      if (nudge !== undefined && Date.now() > nextNudge) {
        nudge();
        nextNudge = Date.now() + 1000;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Runs a command in the guest; answers its exit code and what it printed. */
  async run(command: string, deadline = 15_000): Promise<{ code: number; output: string }> {
    this.#serial += 1;
    const from = this.#text.length;
    // The echo shows `$((n))`, only the shell prints the number itself.
    this.type(`${command}; echo "<done $((${this.#serial}+0)) $?>"\r`);
    const match = await this.waitFor(new RegExp(`<done ${this.#serial} (\\d+)>`), deadline, undefined, from);
    const printed = this.#text.slice(from, from + match.index);
    return { code: Number(match[1]), output: printed.slice(printed.indexOf('\n') + 1).replaceAll('\r', '') };
  }

  /** One ping; whether it was answered. */
  async pings(address: string): Promise<boolean> {
    return (await this.run(`ping -c1 -W1 ${address}`)).code === 0;
  }

  /** Leaves the console as a person does: Ctrl+]. */
  async close(): Promise<void> {
    this.type('\x1d');
    const end = Date.now() + 5000;
    while (!this.#ended && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    if (!this.#ended) this.#child.kill('SIGKILL');
  }
}
