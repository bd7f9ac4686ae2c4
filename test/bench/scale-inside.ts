// SPDX-License-Identifier: Apache-2.0
/*
 * What scale-bench.ts measures, run inside its world by root: one netd of the host scope, whose networks and taps
 * grow, beside ip and nft run by sh in the same namespace. Prints what it found as one line of JSON.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { type Holder, lab, openTaps, startNetd, endNetd, timeShell } from './netd-inside.ts';
import type { Grown } from './scale-grown.ts';

const sizes = [1, 10, 100, 1000];
const tapsOfNetwork = 5;
/** As many NICs as a guest may have. */
const nics = 32;
const tapRounds = 3;
const toggles = 200;
const shellRounds = 15;

const networksOf = (taps: number): number => Math.max(1, taps / tapsOfNetwork);
const hex = (number: number): string => number.toString(16).padStart(2, '0');
const mac = (kind: number, number: number): string =>
  `52:54:00:${hex(kind)}:${hex(number >> 8)}:${hex(number & 0xff)}`;

const spec = (number: number) => ({
  name: `br${number}`,
  subnet: `10.1.${number}.0/24`,
  address: `10.1.${number}.1`,
  mac: mac(1, number),
  mtu: 1500,
  nat: true,
  dhcp: { from: `10.1.${number}.128`, to: `10.1.${number}.254`, reservations: [] },
  domain: 'lab' as const,
});

/** Pss in kB: what of a process's memory would be free without it. */
const pssKb = (pid: number): number =>
  Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);

/** The dnsmasq of a directory, by the file that each writes before it is dnsmasq. */
const dnsmasqPids = (dir: string): number[] =>
  readdirSync(`${dir}/dns`).map((name) =>
    Number(readFileSync(`${dir}/dns/${name}/process`, 'utf8').split(' ', 1)[0]),
  );

const netd = await startNetd('host');
const { client } = netd;
const holders: Holder[] = [];
let networks = 0;
let taps = 0;
const apply: number[] = [];

async function grow(size: number): Promise<void> {
  for (; networks < networksOf(size); networks += 1) {
    const began = performance.now();
    await client.request('apply_network', { lab, network: spec(networks) });
    apply.push(performance.now() - began);
  }
  while (taps < size) {
    const count = Math.min(nics, size - taps);
    const wanted = Array.from({ length: count }, (_, nic) => {
      const number = taps + nic;
      return `${nic}:br${number % networks}:${mac(2, number)}:t${number}`;
    });
    holders.push(await openTaps(netd, `g${taps}`, wanted));
    taps += count;
  }
}

async function openTap(): Promise<number[]> {
  const samples: number[] = [];
  for (let round = 0; round < tapRounds; round += 1) {
    const wanted = Array.from(
      { length: nics },
      (_, nic) => `${nic}:br${(round * nics + nic) % networks}:${mac(3, nic)}:probe${nic}`,
    );
    const holder = await openTaps(netd, 'probe', wanted);
    samples.push(...holder.taps.map(({ steps }) => steps.reduce((sum, { ms }) => sum + ms, 0)));
    await holder.close();
  }
  return samples;
}

async function setNat(): Promise<number[]> {
  const samples: number[] = [];
  for (let toggle = 0; toggle < toggles; toggle += 1) {
    const began = performance.now();
    const network = `br${Math.floor(toggle / 2) % networks}`;
    const done = await client.request('set_nat', { lab, network, nat: toggle % 2 === 1 });
    samples.push(performance.now() - began);
    if (!done.changed) throw new Error(`NAT of ${network} was not switched`);
  }
  return samples;
}

async function tapByShell(): Promise<number[]> {
  const samples: number[] = [];
  for (let round = 0; round < shellRounds; round += 1) {
    const bridge = `br${round % networks}`;
    samples.push(
      await timeShell(`set -e
ip tuntap add dev sh0 mode tap
ip link set sh0 master ${bridge}
ip link set sh0 up`),
    );
    await timeShell('ip link del sh0');
  }
  return samples;
}

/** A table of its own, as netd's but for the name: nft would meet netd's own repairs in netd's. */
const tableOf = (count: number): string => {
  const each = (text: (name: string) => string): string =>
    Array.from({ length: count }, (_, number) => text(`br${number}`)).join('\n');
  return `add table inet sh
add set inet sh nat_off { type ifname; }
add map inet sh out { type ifname : verdict; }
add chain inet sh forward { type filter hook forward priority filter; policy accept; }
add rule inet sh forward iifname @nat_off counter drop
add rule inet sh forward iifname vmap @out
${each(
  (name) => `add chain inet sh out_${name}
add rule inet sh out_${name} ct state invalid counter drop
add rule inet sh out_${name} ct state established,related accept
add rule inet sh out_${name} counter drop
add element inet sh out { ${name} : jump out_${name} }`,
)}`;
};

async function natByShell(): Promise<number[]> {
  await timeShell(`nft -f - <<'END'\n${tableOf(networks)}\nEND`);
  const samples: number[] = [];
  for (let round = 0; round < shellRounds; round += 1) {
    const element = `inet sh nat_off '{ br${round % networks} }'`;
    samples.push(await timeShell(`nft add element ${element}`));
    samples.push(await timeShell(`nft delete element ${element}`));
  }
  await timeShell('nft delete table inet sh');
  return samples;
}

// As the core does: whoever asks also watches.
await client.request('observe', {});
const points: Grown['points'][number][] = [];
const bare = pssKb(netd.pid);
for (const size of sizes) {
  await grow(size);
  points.push({
    taps,
    networks,
    openTap: await openTap(),
    setNat: await setNat(),
    tapByShell: await tapByShell(),
    natByShell: await natByShell(),
  });
}
const memory = {
  netdKb: (pssKb(netd.pid) - bare) / networks,
  dnsmasqKb: dnsmasqPids(netd.dir).reduce((sum, pid) => sum + pssKb(pid), 0) / networks,
};
for (const holder of holders) await holder.close();
const began = performance.now();
const removed: number[] = [];
for (let number = networks - 1; number >= 0; number -= 1) {
  const before = performance.now();
  const { failed } = await client.request('remove_network', { lab, network: `br${number}` });
  removed.push(performance.now() - before);
  if (failed.length > 0) throw new Error(`br${number} was not removed: ${failed[0]?.message}`);
}
const grown: Grown = { points, memory, apply, removed, removedAll: performance.now() - began };
await endNetd(netd);
process.stdout.write(`${JSON.stringify(grown)}\n`);
process.exit(0);
