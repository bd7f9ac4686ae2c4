// SPDX-License-Identifier: Apache-2.0
import { z } from '../../electron/contract/zod.ts';
import { Json } from './kernel.ts';

/** The chains that these rules, or the elements of this map, lead to. */
function targets(value: Json | undefined): string[] {
  if (value === null || typeof value !== 'object') return [];
  if (Array.isArray(value)) return value.flatMap(targets);
  return Object.entries(value).flatMap(([key, inner]) => {
    const is = (key === 'jump' || key === 'goto') && inner !== null && typeof inner === 'object';
    return is && 'target' in inner && typeof inner.target === 'string' ? [inner.target] : targets(inner);
  });
}

const Rules = z.tuple([z.array(z.string()), z.record(z.string(), z.array(Json))]);
const Named = z.object({ family: z.string(), table: z.string(), name: z.string() });
const Other = z.object({
  chain: Named.extend({ hook: z.string().optional() }).optional(),
  map: Named.extend({ elem: Json.optional() }).optional(),
  'ct helper': Named.optional(),
});

/**
 * The rules of {@link nftRules} without those chains named so to which no packet comes (no base chain leads there,
 * and no map), and without the connection helpers that only they assign. A chain that packets come to stays,
 * whatever its name.
 */
export function withoutUnreached(rules: Json, named: RegExp): Json {
  const [others, byChain] = Rules.parse(rules);
  const listed = others.map((text) => ({ text, ...Other.parse(JSON.parse(text)) }));
  const reached = new Set<string>();
  const reach = (family: string, table: string, name: string): void => {
    const key = JSON.stringify([family, table, name]);
    if (reached.has(key)) return;
    reached.add(key);
    for (const next of targets(byChain[key])) reach(family, table, next);
  };
  for (const { chain, map } of listed) {
    if (chain?.hook !== undefined) reach(chain.family, chain.table, chain.name);
    if (map !== undefined) for (const next of targets(map.elem)) reach(map.family, map.table, next);
  }
  const isIdle = (key: string, name: string): boolean => named.test(name) && !reached.has(key);
  const left = Object.entries(byChain).filter(([key]) => {
    const [, , name = ''] = z.array(z.string()).parse(JSON.parse(key));
    return !isIdle(key, name);
  });
  const text = JSON.stringify(left);
  return [
    listed
      .filter(({ chain, 'ct helper': helper }) => {
        if (helper !== undefined)
          return text.includes(JSON.stringify({ 'ct helper': helper.name }).slice(1, -1));
        if (chain === undefined) return true;
        return !isIdle(JSON.stringify([chain.family, chain.table, chain.name]), chain.name);
      })
      .map((each) => each.text),
    Object.fromEntries(left),
  ];
}
