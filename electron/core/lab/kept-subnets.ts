// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Ipv4Cidr, NetworkName } from '../../contract/names.ts';
import { z } from '../../contract/zod.ts';
import { stateDir } from '../host/runtime-dir.ts';
import { overlapping, type UsedSubnet } from '../net/free-subnet.ts';

/** `subnets.json` of a lab: the subnets that were chosen for its networks, so that they do not move. */
const KeptSubnets = z.object({ version: z.literal(1), subnets: z.record(NetworkName, Ipv4Cidr) });

const pathOf = (lab: string): string => join(stateDir(), 'labs', lab, 'subnets.json');

/** By network; empty where there are none, or none that this version understands. */
export function readKeptSubnets(lab: string): ReadonlyMap<string, string> {
  try {
    const kept = KeptSubnets.safeParse(JSON.parse(readFileSync(pathOf(lab), 'utf8'))).data;
    return new Map(Object.entries(kept?.subnets ?? {}));
  } catch {
    return new Map();
  }
}

/** Writes them, old or new and never a part. Where it cannot be written they are chosen anew, mostly alike. */
export function writeKeptSubnets(lab: string, subnets: ReadonlyMap<string, string>): void {
  const path = pathOf(lab);
  try {
    if (subnets.size === 0) {
      rmSync(path, { force: true });
      return;
    }
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const text = JSON.stringify({ version: 1, subnets: Object.fromEntries(subnets) });
    writeFileSync(`${path}.new`, `${text}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch {
    // The file system may be full; the lab comes up all the same.
  }
}

/** Those that nobody else uses. */
export function stillFree(
  kept: ReadonlyMap<string, string>,
  used: readonly UsedSubnet[],
): ReadonlyMap<string, string> {
  return new Map([...kept].filter(([, cidr]) => overlapping(cidr, used) === undefined));
}
