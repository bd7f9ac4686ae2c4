// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest's start costs beside the bare QEMU command with the same arguments. The bare one opens a tap by
 * name that was made ahead, as the tutorial does, since a shell cannot hand it a descriptor. The guest's disk has
 * a boot sector that writes to the serial port at once: a Linux says its first word after some two seconds under
 * TCG, and that varies by more than what is to be measured.
 */
import { diskThatSays } from '../guest/boot-media.ts';
import { checkoutInside } from '../world/world.ts';
import { type Figure, median, percentile, report, rounded } from './figures.ts';
import { type GuestSamples, type StartSample, tapOfBareQemu } from './guest-samples.ts';
import { labWorld } from './lab-world.ts';

const deadline = 300_000;
/** ms more than the bare command. */
const limit = 30;

// Nobody in this guest asks for a lease, so up must not wait for one.
const lab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true, dhcp: false }
guests:
  guest: { image: ./disk.raw, memory: 256M, cpus: 1, nics: [{ network: br0 }] }
`;

async function samples(): Promise<GuestSamples> {
  const { world, browser, close } = await labWorld(lab, { 'disk.raw': diskThatSays('started') });
  try {
    await browser.close();
    const tap = `ip tuntap add dev ${tapOfBareQemu} mode tap user ${world.uid} && ip link set ${tapOfBareQemu} up`;
    await world.must(['sh', '-c', tap], { as: 'root' });
    const inside = [
      process.execPath,
      `${checkoutInside}/dist/bench/guest-inside.mjs`,
      ...world.tapyardCommand([]),
      `${checkoutInside}/dist/cli/tapyard.mjs`,
    ];
    return JSON.parse(await world.must(inside, { timeout: deadline }));
  } finally {
    await close();
  }
}

/** The median of what a start takes more than the bare one of the same round, beside the bare one. */
function more(
  what: string,
  ours: readonly StartSample[],
  bare: readonly StartSample[],
  mark: 'monitor' | 'serial',
  aim: boolean,
  note?: string,
): Figure {
  const times = ours.map((start) => start[mark]);
  const theirs = bare.map((start) => start[mark]);
  const difference = median(times.map((time, round) => time - (theirs[round] ?? Number.NaN)));
  const told = `${rounded(difference)} ms more (median of the rounds)`;
  return {
    what,
    unit: 'ms',
    figure: rounded(median(times)),
    p95: rounded(percentile(times, 0.95)),
    beside: {
      what: 'bare QEMU',
      figure: rounded(median(theirs)),
      p95: rounded(percentile(theirs, 0.95)),
    },
    ratio: rounded(median(times) / median(theirs)),
    aim: aim ? `≤ ${limit} ms more` : null,
    met: aim ? difference <= limit : null,
    note: note === undefined ? told : `${told}; ${note}`,
  };
}

/** What a whole command takes, beside a Node that does nothing. */
const whole = (what: string, times: readonly number[], node: readonly number[]): Figure => ({
  what,
  unit: 'ms',
  figure: rounded(median(times)),
  p95: rounded(percentile(times, 0.95)),
  beside: { what: 'node -e 0', figure: rounded(median(node)), p95: rounded(percentile(node, 0.95)) },
  ratio: rounded(median(times) / median(node)),
  aim: null,
  met: null,
});

await report([
  [
    'guest start',
    async () => {
      const { bare, call, command, nodeCommand, ls, nodeLs, node } = await samples();
      return [
        more('guest.start to the first serial byte', call, bare, 'serial', true),
        more('guest.start to an answering monitor', call, bare, 'monitor', true, 'QEMU says its status'),
        more('tapyard start to the first serial byte', command, bare, 'serial', true),
        more('the same in a Node of its own', nodeCommand, bare, 'serial', false, "with node's own start"),
        whole('tapyard ls, whole command', ls, node),
        whole('the same in a Node of its own', nodeLs, node),
      ];
    },
  ],
]);
