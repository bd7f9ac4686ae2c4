// SPDX-License-Identifier: Apache-2.0
/*
 * What netd takes for a network, a tap and a toggle of NAT, beside the tutorial's commands run by sh, and for
 * doors that were shut. All in a world of namespaces; ours and theirs by turns.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { checkoutInside, World } from '../world/world.ts';
import { byTurns, compared, type Figure, median, percentile, report, rounded } from './figures.ts';
import { mending } from './mending.ts';
import { type Answer, moreTaps, type Order } from './network-orders.ts';

const pairs = 15;
const toggles = 400;
/** The longest order: a private network up and down. */
const orderDeadline = 60_000;

/** A process inside the world that does the measuring, so that no process start of ours is in the figures. */
class Inside {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(world: World, as: 'user' | 'root') {
    this.#child = world.start([process.execPath, `${checkoutInside}/dist/bench/network-inside.mjs`], { as });
    this.#child.stderr?.pipe(process.stderr);
    if (this.#child.stdout === null) throw new Error('the measuring process has no output');
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ask(order: Order): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), orderDeadline);
    const line = await this.#answers.next();
    clearTimeout(deadline);
    if (line.done === true) throw new Error(`the measuring process ended at "${order.do}"`);
    const answer: Answer | { error: string } = JSON.parse(line.value);
    if ('error' in answer) throw new Error(answer.error);
    return answer;
  }

  async time(order: Order): Promise<number> {
    return (await this.ask(order)).ms;
  }
}

const world = World.create();
try {
  const insides = { private: new Inside(world, 'user'), host: new Inside(world, 'root') };
  const root = insides.host;

  /** The medians of the parts, for the note. */
  const partsOf = (answers: readonly Answer[]): string =>
    Object.keys(answers[0]?.parts ?? {})
      .map((name) => `${name} ${rounded(median(answers.map(({ parts }) => parts?.[name] ?? 0)))}`)
      .join(', ');

  const networkUp = async (): Promise<Figure[]> => {
    const whole = 'network up, tapyard-tap started';
    const samples = await byTurns(pairs, [
      () => root.ask({ do: 'tutorial network up', scope: 'host' }),
      () => insides.host.ask({ do: whole, scope: 'host' }),
      () => insides.private.ask({ do: 'network up', scope: 'private' }),
      () => insides.private.ask({ do: whole, scope: 'private' }),
    ]);
    const ms = (side: number): number[] => samples(side).map((sample) => sample.ms);
    const requests = samples(1).map((sample) => sample.requests ?? Number.NaN);
    const tutorial = { what: 'tutorial by sh, without DHCP', samples: ms(0) };
    const beside = (what: string, side: number, aim?: number): Figure =>
      compared(`network up, ${what}`, ms(side), tutorial, aim, partsOf(samples(side)));
    // tapyard-tap becomes the guest's QEMU, and one helper serves all labs of the host scope; a private lab has
    // netd, namespaces and pasta of its own.
    return [
      compared('network up, host, requests to replies', requests, tutorial, 0.5),
      beside('host, with netd and tapyard-tap started', 1),
      beside('private, with netd, namespaces and pasta started', 2, 1.5),
      beside('private, with tapyard-tap started as well', 3),
    ];
  };

  const likeForLike = async (): Promise<Figure[]> => {
    await insides.private.ask({ do: 'stand', scope: 'private' });
    const samples = await byTurns(pairs, [
      () => insides.private.time({ do: 'network again', scope: 'private' }),
      () => root.time({ do: 'tutorial network up', scope: 'host' }),
    ]);
    await insides.private.ask({ do: 'fall', scope: 'private' });
    const tutorial = { what: 'tutorial by sh', samples: samples(1) };
    return [compared('the same by a netd that runs, without DHCP', samples(0), tutorial)];
  };

  const oneTap = async (scope: 'private' | 'host'): Promise<Figure[]> => {
    // The host scope's bridge has the tutorial's name: there sh adds its tap to netd's bridge.
    await insides[scope].ask({ do: 'stand', scope });
    if (scope === 'private') await root.ask({ do: 'tutorial bridge', scope });
    const samples = await byTurns(pairs, [
      () => insides[scope].time({ do: 'taps', scope, count: 1 }),
      () => root.time({ do: 'tutorial tap', scope }),
      () => insides[scope].time({ do: 'taps', scope, count: 1 + moreTaps }),
    ]);
    if (scope === 'private') await root.ask({ do: 'no tutorial bridge', scope });
    await insides[scope].ask({ do: 'fall', scope });
    // Only a program that receives descriptors can time a request for one. Several requests of one such program
    // less one request leave requests and replies alone.
    const one = samples(0);
    const requests = samples(2).map((ms, round) => (ms - (one[round] ?? Number.NaN)) / moreTaps);
    const tutorial = { what: 'ip tuntap, ip link by sh', samples: samples(1) };
    return [
      compared(`one tap, ${scope}, request to reply`, requests, tutorial, 0.3),
      compared(`one tap, ${scope}, with the start of tapyard-tap`, one, tutorial),
    ];
  };

  const toggleNat = async (scope: 'private' | 'host'): Promise<Figure[]> => {
    await insides[scope].ask({ do: 'stand', scope });
    const samples: number[] = [];
    for (let toggle = 0; toggle < toggles; toggle += 1)
      samples.push(await insides[scope].time({ do: 'toggle NAT', scope, nat: toggle % 2 === 1 }));
    await insides[scope].ask({ do: 'fall', scope });
    const [p50, p95, p99] = [median(samples), percentile(samples, 0.95), percentile(samples, 0.99)];
    return [
      {
        what: `NAT toggle, ${scope}, p50`,
        unit: 'ms',
        figure: rounded(p50),
        p95: rounded(p95),
        aim: '< 3 ms',
        met: p50 < 3,
      },
      { what: `NAT toggle, ${scope}, p99`, unit: 'ms', figure: rounded(p99), aim: '< 10 ms', met: p99 < 10 },
    ];
  };

  await report([
    ['network up', networkUp],
    ['the same by a netd that runs', likeForLike],
    ['one tap, host', () => oneTap('host')],
    ['one tap, private', () => oneTap('private')],
    ['NAT toggle, host', () => toggleNat('host')],
    ['NAT toggle, private', () => toggleNat('private')],
    ...mending,
  ]);
} finally {
  world.close();
}
