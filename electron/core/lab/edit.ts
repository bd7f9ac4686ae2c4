// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import type {
  ForwardDefinition,
  GuestDefinition,
  NetworkDefinition,
  NicDefinition,
} from '../../contract/lab-file.ts';
import { isShape, type ShapeDefinition } from '../../contract/shape.ts';
import type { z } from '../../contract/zod.ts';
import {
  entriesAt,
  flow,
  parse,
  withEntry,
  withItem,
  withKey,
  withoutEntry,
  withoutItem,
} from './yaml-edit.ts';

/** A guest as a caller writes it: what has a default may be missing. */
export type NewGuest = z.input<typeof GuestDefinition>;

/** A network as a caller writes it. */
export type NewNetwork = z.input<typeof NetworkDefinition>;

/** Turns a network's NAT on or off. */
export function withNat(text: string, network: string, nat: boolean): string {
  const path = ['networks', network];
  // On is the default.
  return nat && !parse(text).hasIn([...path, 'nat']) ? text : withKey(text, path, 'nat', nat);
}

/** Adds a guest behind the last one. */
export function withGuest(text: string, name: string, guest: NewGuest): string {
  return withEntry(text, 'guests', name, guest, (indent) => guestLines(name, guest, indent));
}

/** Takes a guest out. */
export function withoutGuest(text: string, name: string): string {
  return withoutEntry(text, 'guests', name);
}

/** What of a network is as without being said. */
const unsaid: Readonly<Record<string, unknown>> = { mode: 'nat', nat: true, mtu: 1500 };

/** Adds a network behind the last one. What is as without being said stays unsaid. */
export function withNetwork(text: string, name: string, network: NewNetwork): string {
  const short = Object.fromEntries(
    Object.entries(network).filter(([key, value]) => value !== undefined && value !== unsaid[key]),
  );
  return withEntry(text, 'networks', name, short, (indent) => `${indent}${name}: ${flow(short)}`);
}

/** Makes a network what is given, key by key: what says the same already stays as it is written. */
export function withChangedNetwork(text: string, name: string, network: NewNetwork): string {
  const path = ['networks', name];
  const now = entriesAt(text, path);
  const then = new Map<string, unknown>(Object.entries(network));
  return [...new Set([...now.keys(), ...then.keys()])].reduce((result, key) => {
    const value = then.get(key) ?? unsaid[key];
    if (isDeepStrictEqual(now.get(key) ?? unsaid[key], value)) return result;
    return withKey(result, path, key, value === unsaid[key] ? undefined : value);
  }, text);
}

/** Takes a network out. */
export function withoutNetwork(text: string, name: string): string {
  return withoutEntry(text, 'networks', name);
}

/** A NIC as a caller writes it. */
export type NewNic = z.input<typeof NicDefinition>;

/** Adds a NIC behind a guest's last one. */
export function withNic(text: string, guest: string, nic: NewNic): string {
  const path = ['guests', guest];
  const nics = entriesAt(text, path).get('nics');
  return Array.isArray(nics) && nics.length > 0
    ? withItem(text, [...path, 'nics'], nic)
    : withKey(text, path, 'nics', [nic]);
}

/**
 * Takes a NIC out. `macs` are those of all of the guest's NICs: the ones behind it are written down, for they
 * were made from the NICs' places.
 */
export function withoutNic(text: string, guest: string, index: number, macs: readonly string[]): string {
  const path = ['guests', guest];
  if (macs.length === 1) return withKey(text, path, 'nics', undefined);
  const pinned = macs.reduce(
    (result, mac, at) => (at > index ? withKey(result, [...path, 'nics', at], 'mac', mac) : result),
    text,
  );
  return withoutItem(pinned, [...path, 'nics'], index);
}

/** Gives a NIC another address. */
export function withAddress(text: string, guest: string, nic: number, address: string): string {
  return withKey(text, ['guests', guest, 'nics', nic], 'address', address);
}

/** Holds a NIC to a shape; an empty one is none. */
export function withShape(text: string, guest: string, nic: number, shape: ShapeDefinition): string {
  return withKey(text, ['guests', guest, 'nics', nic], 'shape', isShape(shape) ? shape : undefined);
}

/** A forward as a caller writes it. */
export type NewForward = z.input<typeof ForwardDefinition>;

/** Makes these the forwards of a guest. What is as without being said stays unsaid. */
export function withForwards(text: string, guest: string, forwards: readonly NewForward[]): string {
  const short = forwards.map(({ address, port, to, protocol }) => ({
    port,
    ...(to === undefined || to === port ? {} : { to }),
    ...(address === undefined || address === '127.0.0.1' ? {} : { address }),
    ...(protocol === undefined || protocol === 'tcp' ? {} : { protocol }),
  }));
  return withKey(text, ['guests', guest], 'forwards', short.length === 0 ? undefined : short);
}

/** A guest as block YAML with its NICs in flow style, as people write them. */
function guestLines(name: string, guest: NewGuest, indent: string): string {
  const { nics, ...rest } = guest;
  const lines = parse(stringify({ [name]: rest }))
    .toString({ lineWidth: 0 })
    .trimEnd()
    .split('\n');
  if (nics !== undefined) lines.push(`  nics: ${flow(nics)}`);
  return lines.map((line) => indent + line).join('\n');
}
