// SPDX-License-Identifier: Apache-2.0
import { expect } from 'vitest';
import type { HostLab } from './host-lab.ts';
import { type Json, nftRules } from './kernel.ts';
import { MountedPlace } from './mounted-place.ts';
import { withoutUnreached } from './unreached.ts';

/** All rules of all back ends. */
export interface Rules {
  nft: Json;
  legacy: string[];
}

/** A place that has the real firewalld, and a system bus of its own. */
export abstract class FirewalldPlace extends MountedPlace {
  /** The system bus. */
  bus(): Promise<() => Promise<void>> {
    return this.daemon('dbus-daemon --system --nofork --nopidfile', 'test -S /run/dbus/system_bus_socket');
  }

  /** firewalld, which needs the bus. */
  firewalld(): Promise<() => Promise<void>> {
    return this.daemon('firewalld --nofork --nopid', 'firewall-cmd --state');
  }

  /** All rules, without what counts packets, and which tables the old iptables has. */
  async rules(): Promise<Rules> {
    const legacy = await this.sh(`cat /proc/net/ip_tables_names /proc/net/ip6_tables_names
      [ -z "$(cat /proc/net/ip_tables_names)" ] || iptables-legacy -S
      [ -z "$(cat /proc/net/ip6_tables_names)" ] || ip6tables-legacy -S`);
    return { nft: await nftRules(this.world, this.inside([])), legacy: legacy.split('\n').filter(Boolean) };
  }

  /**
   * The same without what firewalld keeps, until it is loaded again, of a zone in which nobody is any more: chains
   * to which no packet comes.
   */
  async rulesWithoutIdle(zone: string): Promise<Rules> {
    const { nft, legacy } = await this.rules();
    const chains = new RegExp(`^(filter|nat|mangle)_[A-Z]+_${zone}(_(pre|log|deny|allow|post))?$`);
    return { nft: withoutUnreached(nft, chains), legacy };
  }
}

/** A lab on the host of a place, and what is asked of it again and again. */
export interface Beside {
  readonly place: FirewalldPlace;
  readonly lab: HostLab;
  /** Makes the network, with its guest and the port that leads to it, and waits until all get through. */
  readonly up: () => Promise<unknown>;
  readonly getsThrough: () => Promise<void>;
}

/**
 * firewalld is there, then comes the lab; it is loaded again, ends and starts, and the lab goes: guests get through
 * all the time, in this zone, and its rules and zones are as before. Then it starts and ends while a lab is up.
 * `once` is asked while the lab is in the zone.
 */
export async function besideFirewalld(
  beside: Beside,
  zone: string,
  once: () => Promise<void>,
): Promise<void> {
  const { place, lab, getsThrough } = beside;
  const isInZone = async (): Promise<void> => {
    expect(await place.sh(`firewall-cmd --zone=${zone} --list-interfaces`)).toBe('br0\n');
    expect(await lab.openDoors()).toEqual([`firewalld: zone ${zone}`]);
  };
  let stop = await place.firewalld();
  const rules = await place.rules();
  const zones = await place.sh('firewall-cmd --list-all-zones; firewall-cmd --list-all-policies');
  await beside.up();
  await isInZone();
  await once();
  await place.sh('firewall-cmd --reload');
  await getsThrough();
  await isInZone();
  await stop();
  await getsThrough();
  expect(await lab.openDoors()).toEqual([]);
  stop = await place.firewalld();
  await getsThrough();
  await isInZone();
  await lab.down();
  expect(await place.sh('firewall-cmd --list-all-zones; firewall-cmd --list-all-policies')).toBe(zones);
  expect(await place.rulesWithoutIdle(zone)).toEqual(rules);
  await place.sh('firewall-cmd --reload');
  expect(await place.rules()).toEqual(rules);

  await stop();
  await beside.up();
  stop = await place.firewalld();
  await getsThrough();
  await isInZone();
  await stop();
  await getsThrough();
  await lab.down();
  expect(await place.sh('nft list ruleset; ip -d link')).not.toContain('tapyard');
}
