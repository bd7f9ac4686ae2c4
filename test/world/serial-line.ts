// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { until } from './world.ts';

let nextMark = 0;

/** A shell in a guest by its serial port's FIFO and record, with or without a core. */
export class SerialLine {
  readonly #input: string;
  readonly #record: string;

  constructor(input: string, record: string) {
    this.#input = input;
    this.#record = record;
  }

  /** Runs a command in the guest, which may be run twice where its shell comes late; its exit code. */
  async run(command: string, deadline = 30_000): Promise<number> {
    nextMark += 1;
    const from = statSync(this.#record).size;
    // The echo shows `$((n))`, only the shell prints the number itself.
    const line = `${command}; echo "<done $((${nextMark}+0)) $?>"\r`;
    const answer = new RegExp(`<done ${nextMark} (\\d+)>`);
    let typeAgain = 0;
    return until(`the guest runs ${command}`, deadline, () => {
      if (Date.now() > typeAgain) {
        this.#type(line);
        typeAgain = Date.now() + 10_000;
      }
      const code = answer.exec(readFileSync(this.#record).subarray(from).toString('latin1'))?.[1];
      return code === undefined ? undefined : Number(code);
    });
  }

  /**
   * Whether a ping is answered. pasta of 2023 passes no answer on whose number and sequence are those of the last
   * one (`icmp_sock_handler`), as those of a guest that was started anew are: then the second of two comes through.
   */
  async pings(address: string): Promise<boolean> {
    return (await this.run(`ping -c1 -W1 ${address} || ping -c2 -W1 ${address}`)) === 0;
  }

  #type(text: string): void {
    // Without a QEMU that reads it this fails instead of waiting for one.
    const fd = openSync(this.#input, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      writeSync(fd, text);
    } finally {
      closeSync(fd);
    }
  }
}
