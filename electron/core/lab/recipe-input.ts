// SPDX-License-Identifier: Apache-2.0
import type { Scope } from '../../contract/names.ts';
import { ownUid } from '../host/runtime-dir.ts';
import { ownDefaultDevice, ownDefaultDevice6 } from '../net/default-route.ts';
import type { Picture } from '../net/picture.ts';
import type { GuestHandle } from './engine.ts';
import type { PlannedStarts } from './planned-starts.ts';
import { type RecipeInput, safeDevice } from './recipe.ts';
import type { ResolvedLab } from './resolve.ts';

/** What a lab is at the moment, and where. */
interface LabNow {
  readonly lab: ResolvedLab;
  readonly scope: Scope;
  readonly picture: Picture | null;
  readonly guests: ReadonlyMap<string, GuestHandle>;
  readonly plans: PlannedStarts;
}

/** What the recipe is made from, as things are now. */
export function recipeInput({ lab, scope, picture, guests, plans }: LabNow): RecipeInput {
  const argv = new Map<string, readonly string[]>();
  const taps = new Map<string, GuestHandle['status']['taps']>();
  for (const [name, { status }] of guests) {
    if (status.pid === null) continue;
    if (status.argv) argv.set(name, status.argv);
    taps.set(name, status.taps);
  }
  const uplink = safeDevice(uplinkDevice(scope, picture));
  const uplink6 = safeDevice(uplink6Device(scope, picture));
  return { lab, scope, uid: ownUid(), uplink, uplink6, argv, plans: plans.known, taps };
}

/** The uplink's interface as observed; while it is neither there nor said why not, what it will be. */
function uplinkDevice(scope: Scope, picture: Picture | null): string | null {
  const uplink = picture?.uplink;
  if (uplink && (uplink.device !== null || uplink.reason !== null)) return uplink.device;
  return scope === 'private' ? 'up0' : ownDefaultDevice();
}

function uplink6Device(scope: Scope, picture: Picture | null): string | null {
  if (picture) return picture.uplink.ipv6?.device ?? null;
  const device = ownDefaultDevice6();
  return device !== null && scope === 'private' ? 'up0' : device;
}
