// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { HostLab } from '../world/host-lab.ts';
import { wanAddress, World } from '../world/world.ts';
import { type Figure, median, percentile, rounded } from './figures.ts';

const reloads = 12;
/** netd mends five times in ten seconds, ms. */
const betweenReloads = 2500;
const aim = 1000;
const deadline = 30_000;

/**
 * For each line that it reads it asks wan1's echo every 2 ms, each time from another port, hence by a new
 * connection that needs the door and the masquerading, and prints a line at the first answer.
 */
const probe = `const { createSocket } = require('node:dgram');
  let asking;
  const ask = () => {
    const socket = createSocket('udp4');
    const close = setTimeout(() => socket.close(), 500);
    socket.on('error', () => {}).on('message', () => {
      clearTimeout(close); socket.close();
      if (asking === undefined) return;
      clearInterval(asking); asking = undefined;
      console.log('through');
    });
    socket.send('x', 7778, '${wanAddress}');
  };
  process.stdin.on('data', () => { asking ??= setInterval(ask, 2); });
  console.log('ready');`;

/** What an administrator's firewall does when it is loaded anew: everybody's rules go, and its own drop. */
const reload = `flush ruleset
table inet theirs {
  chain forward { type filter hook forward priority 0; policy drop; }
  chain input { type filter hook input priority 0; policy drop; ct state established,related accept; iif lo accept; }
}
`;

/** How long a guest is cut off when somebody loads a firewall that drops, in the host scope. */
export async function mending(): Promise<Figure[]> {
  const world = World.create();
  try {
    await world.serveWan();
    const lab = await HostLab.start(world);
    await lab.up();
    const guest = await lab.guest('192.168.57.50');
    const child = guest.spawn([process.execPath, '-e', probe]);
    const lines = linesOf(child);
    await lines();
    const samples: number[] = [];
    for (let round = 0; round <= reloads; round += 1) {
      await pause(betweenReloads);
      const began = performance.now();
      await world.must(['nft', '-f', '-'], { as: 'root', input: reload });
      child.stdin?.write('go\n');
      await lines();
      if (round > 0) samples.push(performance.now() - began);
    }
    await lab.down();
    const [p50, p95] = [median(samples), percentile(samples, 0.95)];
    return [
      {
        what: 'firewall loaded anew, until a guest gets out again',
        unit: 'ms',
        figure: rounded(p50),
        p95: rounded(p95),
        aim: `< ${aim} ms`,
        met: p95 < aim,
        note: `with the run of nft; the longest of ${reloads} took ${rounded(Math.max(...samples))} ms`,
      },
    ];
  } finally {
    world.close();
  }
}

/** Answers the child's next line. */
function linesOf(child: ChildProcess): () => Promise<void> {
  if (child.stdout === null) throw new Error('the probe has no output');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    const timer = setTimeout(() => child.kill('SIGKILL'), deadline);
    const { done } = await lines.next();
    clearTimeout(timer);
    if (done === true) throw new Error(`the guest does not get out within ${deadline} ms`);
  };
}
