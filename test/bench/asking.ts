// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { PortGuest } from '../world/host-lab.ts';
import { wanAddress } from '../world/world.ts';
import type { Ask } from './cuts.ts';

/** The clock that all processes of a machine share, ms. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

/** How long an answer is waited for, ms. One that was not dropped is there within one. */
const patience = 400;

/**
 * Asks wan1's echo and the lab's DNS every 4 ms, each time from another port, hence by new connections that need
 * the doors on both ways, and no old one of the same port that conntrack still knows. For each line that it reads
 * it prints what it asked since the last.
 */
const script = `const { createSocket } = require('node:dgram');
  const guestInLab = Buffer.from('00010100000100000000000005' + Buffer.from('guest').toString('hex') +
    '036c61620000010001', 'hex');
  const asked = [];
  let port = 1024;
  setInterval(() => {
    port = port < 65535 ? port + 1 : 1025;
    const socket = createSocket('udp4');
    const close = setTimeout(() => socket.close(), ${patience});
    let left = 2;
    socket.on('error', () => {}).on('message', () => {
      left -= 1;
      if (left > 0) return;
      question.answered = true;
      clearTimeout(close);
      socket.close();
    });
    const question = { at: Number(process.hrtime.bigint()) / 1e6, answered: false };
    asked.push(question);
    socket.bind(port, () => {
      socket.send('x', 7778, '${wanAddress}');
      socket.send(guestInLab, 53, '192.168.57.1');
    });
  }, 4);
  process.stdin.on('data', () => setTimeout(() => {
    const end = Number(process.hrtime.bigint()) / 1e6 - ${patience};
    const young = asked.findIndex(({ at }) => at > end);
    console.log(JSON.stringify(asked.splice(0, young < 0 ? asked.length : young)));
  }, ${patience}));
  console.log('ready');`;

/** A guest that asks all the time. */
export class Asking {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error('what asks has no output');
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(guest: PortGuest): Promise<Asking> {
    const asking = new Asking(guest.spawn([process.execPath, '-e', script]));
    await asking.#line();
    return asking;
  }

  /** What was asked since last time, in order. */
  async asked(): Promise<Ask[]> {
    this.#child.stdin?.write('\n');
    return JSON.parse(await this.#line());
  }

  async #line(): Promise<string> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 20_000);
    const { done, value } = await this.#lines.next();
    clearTimeout(timer);
    if (done === true) throw new Error('what asks in the guest has ended');
    return value;
  }
}
