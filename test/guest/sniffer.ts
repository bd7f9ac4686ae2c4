// SPDX-License-Identifier: Apache-2.0
import { until, type World } from '../world/world.ts';

/** What of the lab's arrives in wan1, by tcpdump: a line a packet, with the kernel's time of it. */
export class Sniffer {
  readonly #stop: () => void;
  #seen = '';
  #listens = false;

  private constructor(world: World, filter: string) {
    const command = ['tcpdump', '-l', '-n', '-tt', '--immediate-mode', '-i', 'eth0', filter];
    const process = world.start(command, { as: 'root', in: 'wan1' });
    process.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#seen += text));
    process.stderr?.once('data', () => (this.#listens = true));
    this.#stop = () => process.kill('SIGTERM');
  }

  /** Resolves once it listens. */
  static async start(world: World, filter: string): Promise<Sniffer> {
    const sniffer = new Sniffer(world, filter);
    await until('tcpdump listens', 20_000, () => sniffer.#listens);
    return sniffer;
  }

  /** The packets that came between two times (milliseconds since 1970). */
  between(from: number, to: number): string[] {
    return this.#seen.split('\n').filter((line) => {
      const at = Number.parseFloat(line) * 1000;
      return at > from && at < to;
    });
  }

  close(): void {
    this.#stop();
  }
}
