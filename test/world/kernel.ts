// SPDX-License-Identifier: Apache-2.0
import { z } from '../../electron/contract/zod.ts';
import type { World } from './world.ts';

/** Any JSON, parsed. */
export const Json = z.json();
export type Json = z.infer<typeof Json>;

/** Keys whose values differ from run to run without meaning anything: counters, lifetimes, handles. */
const volatile = new Set([
  'handle',
  'packets',
  'bytes',
  'expires',
  'valid_life_time',
  'preferred_life_time',
  'stats',
  'stats64',
  'hello_timer',
  'tcn_timer',
  'topology_change_timer',
  'gc_timer',
  'metainfo',
]);

/** The value without what changes by itself (DESIGN: "as before" in tests). */
export function normalised(value: Json): Json {
  if (Array.isArray(value)) return value.map(normalised);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !volatile.has(key))
      .map(([key, inner]) => [key, normalised(inner)]),
  );
}

/**
 * `nft -j list ruleset` in an order of its own: objects sorted, but each chain's rules in their order, which is
 * the one that means something.
 */
function ruleset(listing: Json): Json {
  const list =
    typeof listing === 'object' && listing !== null && !Array.isArray(listing) ? listing['nftables'] : [];
  if (!Array.isArray(list)) throw new Error('nft -j printed something unknown');
  const others: string[] = [];
  const rules: Record<string, Json[]> = {};
  for (const item of list) {
    if (item === null || typeof item !== 'object' || Array.isArray(item)) continue;
    withoutLearned(item['set']);
    const rule = item['rule'];
    if (rule !== null && typeof rule === 'object' && !Array.isArray(rule)) {
      (rules[JSON.stringify([rule['family'], rule['table'], rule['chain']])] ??= []).push(
        rule['expr'] ?? null,
      );
    } else if (Object.keys(item).length > 0) {
      others.push(JSON.stringify(item));
    }
  }
  return [others.sort(), rules];
}

/** Takes from a set that packets fill what they put into it. */
function withoutLearned(set: Json | undefined): void {
  if (set === null || typeof set !== 'object' || Array.isArray(set)) return;
  const { flags, size } = set;
  // nft of 2022 does not tell of `dynamic`; such a set has a size.
  if ((Array.isArray(flags) && flags.includes('dynamic')) || size !== undefined) delete set['elem'];
}

/** The rules of nf_tables in host1 (or where `enter` leads), the tables of iptables-nft among them. */
export async function nftRules(world: World, enter: readonly string[] = []): Promise<Json> {
  const text = await world.must([...enter, 'nft', '-j', 'list', 'ruleset'], { as: 'root' });
  return ruleset(normalised(Json.parse(JSON.parse(text))));
}

/** Sysctls of interfaces that netd writes, or that the kernel changes with those. */
const sysctlFiles = [
  'ipv4/ip_forward',
  'ipv4/conf/*/forwarding',
  ...['forwarding', 'force_forwarding', 'accept_ra', 'disable_ipv6'].map((name) => `ipv6/conf/*/${name}`),
];

/**
 * What the kernel holds in host1: links, addresses, routes, proxy ARP, rules, queues, sysctls of forwarding. `enter`
 * is the command that leads into another network namespace.
 */
export async function kernelState(
  world: World,
  enter: readonly string[] = [],
): Promise<Record<string, Json>> {
  const json = async (...command: string[]): Promise<Json> =>
    normalised(Json.parse(JSON.parse((await world.must([...enter, ...command], { as: 'root' })) || '[]')));
  const sysctls = await world.must(
    [
      ...enter,
      'sh',
      '-c',
      // A kernel may not have each of them.
      `cd /proc/sys/net && grep -sH . ${sysctlFiles.join(' ')} || [ $? = 2 ]`,
    ],
    { as: 'root' },
  );
  const proxies = await json('ip', '-j', 'neigh', 'show', 'proxy');
  // By the number of the interface, which netd picks by chance.
  const queues = await json('tc', '-j', 'qdisc', 'show');
  return {
    links: await json('ip', '-j', '-d', 'link'),
    addresses: await json('ip', '-j', 'addr'),
    routes: await json('ip', '-j', 'route', 'show', 'table', 'all'),
    proxies: Array.isArray(proxies) ? proxies.map((entry) => JSON.stringify(entry)).sort() : proxies,
    rules: await nftRules(world, enter),
    queues: Array.isArray(queues) ? queues.map((queue) => JSON.stringify(queue)).sort() : queues,
    forwarding: sysctls.trim().split('\n').sort(),
  };
}
