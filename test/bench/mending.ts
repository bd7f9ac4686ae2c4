// SPDX-License-Identifier: Apache-2.0
import { setTimeout as pause } from 'node:timers/promises';
import { Firewalls } from '../world/firewalls.ts';
import { HostLab } from '../world/host-lab.ts';
import { World } from '../world/world.ts';
import { Asking, now } from './asking.ts';
import { type Ask, cuts } from './cuts.ts';
import { type Figure, type Measurement, median, rounded } from './figures.ts';

const rounds = 5;
const aim = 1000;
const deadline = 30_000;
/** So long everything is answered before the next round, ms. */
const rest = 1000;

/** What its administrator does to a firewall. */
interface Act {
  readonly what: string;
  /** Not measured. */
  readonly before?: () => Promise<unknown>;
  readonly act: () => Promise<unknown>;
}

/** A firewall that is set up, in a world of its own. */
type Manager = (firewalls: Firewalls) => Promise<readonly Act[]>;

/** What an administrator's firewall does when it is loaded anew: everybody's rules go, and its own drop. */
const byHand: Manager = async (firewalls) => {
  const load = `nft -f - <<'END'
flush ruleset
table inet theirs {
  chain forward { type filter hook forward priority 0; policy drop; }
  chain input { type filter hook input priority 0; policy drop; ct state established,related accept; iif lo accept; }
}
END`;
  // netd mends its own table, which goes as well, five times in ten seconds.
  const before = (): Promise<void> => pause(2500);
  return [{ what: 'nft -f with “flush ruleset”', before, act: () => firewalls.sh(load) }];
};

const ufw: Manager = async (firewalls) => {
  await firewalls.sh('ufw default deny incoming; ufw default deny routed; ufw --force enable');
  return [
    { what: 'ufw reload', act: () => firewalls.sh('ufw reload') },
    { what: 'ufw disable, ufw enable', act: () => firewalls.sh('ufw disable; ufw --force enable') },
  ];
};

const firewalld: Manager = async (firewalls) => {
  await firewalls.bus();
  let stop = await firewalls.firewalld();
  const restart = async (): Promise<void> => {
    await stop();
    stop = await firewalls.firewalld();
  };
  return [
    { what: 'firewall-cmd --reload', act: () => firewalls.sh('firewall-cmd --reload') },
    { what: 'firewalld restarted', act: restart },
  ];
};

const docker: Manager = async (firewalls) => {
  let stop = await firewalls.docker();
  const start = async (): Promise<void> => {
    stop = await firewalls.docker();
  };
  /** As on a machine where Docker has not run yet: it sets its policy where it switches forwarding on. */
  const forget = async (): Promise<void> => {
    await stop();
    await firewalls.sh(`iptables -P FORWARD ACCEPT
      for table in filter nat; do iptables -t $table -F; iptables -t $table -X; done
      echo 0 > /proc/sys/net/ipv4/ip_forward`);
  };
  return [
    { what: 'dockerd restarted', act: () => stop().then(start) },
    { what: 'dockerd started, which sets FORWARD DROP', before: forget, act: start },
  ];
};

const iptables: Manager = async (firewalls) => {
  const strict = `iptables -F; iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT
    iptables -A INPUT -m state --state ESTABLISHED -j ACCEPT`;
  await firewalls.sh(strict);
  const version = await firewalls.sh('iptables -V');
  const name = version.includes('legacy') ? 'iptables-legacy' : 'iptables-nft';
  return [{ what: `${name} -F, policies DROP`, act: () => firewalls.sh(strict) }];
};

/** How long a guest of the host scope is cut off when a firewall that drops is loaded anew, and by whose. */
export const mending: readonly Measurement[] = [
  ['rules of one’s own loaded anew', () => beside(byHand)],
  ['ufw loaded anew', () => beside(ufw)],
  ['firewalld loaded anew', () => beside(firewalld)],
  ['Docker started anew', () => beside(docker)],
  ['iptables-nft loaded anew', () => beside(iptables)],
  ['iptables-legacy loaded anew', () => beside(iptables, 'legacy')],
];

async function beside(manager: Manager, back: 'nft' | 'legacy' = 'nft'): Promise<Figure[]> {
  const world = World.create();
  try {
    await world.serveWan();
    const firewalls = await Firewalls.start(world, back);
    const acts = await manager(firewalls);
    const lab = await HostLab.start(world, firewalls.inside);
    await lab.up();
    const guest = await lab.guest('192.168.57.50');
    const asking = await Asking.start(guest);
    const figures: Figure[] = [];
    for (const act of acts) figures.push(await measure(act, lab, asking));
    await lab.down();
    return figures;
  } finally {
    world.close();
  }
}

/** One round: how long the guest was cut off in all, in how many pieces, and until when after the act's end; ms. */
interface Round {
  readonly shut: number;
  readonly pieces: number;
  readonly after: number;
}

async function measure({ what, before, act }: Act, lab: HostLab, asking: Asking): Promise<Figure> {
  const done: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    if (before !== undefined) {
      await before();
      await settled(asking);
    }
    await act();
    const ended = now();
    const found = cuts(await settled(asking));
    // What needs no door says nothing of doors.
    if ((await lab.openDoors()).length === 0) throw new Error(`${what}: a guest gets out without a door`);
    done.push({
      shut: found.reduce((sum, { from, to }) => sum + to - from, 0),
      pieces: found.length,
      after: Math.max(0, (found.at(-1)?.to ?? ended) - ended),
    });
  }
  const [shut, after] = [done.map((round) => round.shut), done.map((round) => round.after)];
  const pieces = Math.max(...done.map((round) => round.pieces));
  const longest = Math.max(...shut);
  return {
    what: `a guest cut off by ${what}`,
    unit: 'ms',
    figure: rounded(median(shut)),
    aim: `< ${aim} ms`,
    met: longest < aim,
    note:
      pieces === 0
        ? `in ${rounds} rounds none of its new connections failed, of which it makes two every 4 ms`
        : `longest of ${rounds}: ${rounded(longest)} ms, in ${pieces} or fewer pieces; open again ` +
          `${rounded(median(after))} ms after the command’s end, latest ${rounded(Math.max(...after))} ms`,
  };
}

/** What was asked until everything has been answered for a while. */
async function settled(asking: Asking): Promise<Ask[]> {
  const end = now() + deadline;
  const all: Ask[] = [];
  for (;;) {
    await pause(rest);
    all.push(...(await asking.asked()));
    const last = cuts(all).at(-1)?.to ?? 0;
    if ((all.at(-1)?.at ?? 0) - last > rest / 2) return all;
    if (now() > end) throw new Error(`the guest does not get out within ${deadline} ms`);
  }
}
