// SPDX-License-Identifier: Apache-2.0
import type { World } from './world.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Keys whose values differ from run to run without meaning anything: counters, lifetimes, handles. */
const volatile = new Set([
  'handle',
  'packets',
  'bytes',
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

/** What the kernel holds in host1: links, addresses, routes, rules, forwarding sysctls. */
export async function kernelState(world: World): Promise<Record<string, Json>> {
  const json = async (...command: string[]): Promise<Json> =>
    normalised(JSON.parse((await world.must(command, { as: 'root' })) || '[]') as Json);
  const sysctls = await world.must(
    [
      'sh',
      '-c',
      'cd /proc/sys/net && grep -rH . ipv4/ip_forward ipv4/conf/*/forwarding ipv6/conf/*/forwarding',
    ],
    { as: 'root' },
  );
  return {
    links: await json('ip', '-j', '-d', 'link'),
    addresses: await json('ip', '-j', 'addr'),
    routes: await json('ip', '-j', 'route', 'show', 'table', 'all'),
    rules: await json('nft', '-j', 'list', 'ruleset'),
    forwarding: sysctls.trim().split('\n').sort(),
  };
}
