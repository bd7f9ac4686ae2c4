// SPDX-License-Identifier: Apache-2.0
import { GuestDefinition } from '../../../electron/contract/lab-file.ts';
import { GuestName, Ipv4 } from '../../../electron/contract/names.ts';
import type { z } from '../../../electron/contract/zod.ts';
import type { Row } from '../../store/tables.ts';
import { addressNumber, addressText, inSubnet, parseSubnet } from '../../lib/ipv4.ts';

/** What is typed into the form. */
export interface NewGuestForm {
  readonly name: string;
  readonly image: string;
  readonly memory: string;
  readonly cpus: string;
  /** Name of the network, or '' for none. */
  readonly network: string;
  /** '' leaves the choice to DHCP. */
  readonly address: string;
}

export type FieldName = keyof NewGuestForm;

/** What is wrong, by field. */
export type FieldErrors = { readonly [Field in FieldName]?: string };

type Guest = Pick<Row<'guests'>, 'name' | 'nics'>;
type Network = Pick<Row<'networks'>, 'name' | 'wanted' | 'observed'>;

/** The first complaint of a schema about a value, undefined when it has none. */
function complaint(schema: z.ZodType, value: unknown): string | undefined {
  const result = schema.safeParse(value);
  return result.success ? undefined : result.error.issues[0]?.message;
}

/** Addresses that are taken on a network, and by whom. */
function taken(network: Network, guests: readonly Guest[]): ReadonlyMap<string, string> {
  const result = new Map<string, string>();
  if (typeof network.wanted?.address === 'string')
    result.set(network.wanted.address, `the bridge ${network.name}`);
  for (const guest of guests)
    for (const nic of guest.nics)
      if (nic.network === network.name && nic.address !== null) result.set(nic.address, guest.name);
  return result;
}

/** What is wrong with an address for a guest of a network; undefined where nothing is. */
export function addressError(
  address: string,
  network: Network,
  guests: readonly Guest[],
): string | undefined {
  const form = complaint(Ipv4, address);
  if (form !== undefined) return form;
  if (network.wanted?.mode === 'bridged')
    return `${network.name} is bridged: its addresses are not Tapyard's`;
  const subnet = subnetIn(network);
  if (!subnet || !network.wanted) return undefined;
  const number = addressNumber(address);
  if (!inSubnet(number, subnet))
    return `${address} is not in ${network.wanted.subnet}, the subnet of ${network.name}`;
  if (number === subnet.first) return `${address} is the subnet itself`;
  if (number === subnet.last) return `${address} is the broadcast address of ${network.wanted.subnet}`;
  const owner = taken(network, guests).get(address);
  return owner === undefined ? undefined : `${address} is taken by ${owner}`;
}

function addressErrorOf(
  form: NewGuestForm,
  network: Network | undefined,
  guests: readonly Guest[],
): string | undefined {
  if (form.address === '') return undefined;
  if (network) return addressError(form.address, network, guests);
  return form.network === '' ? 'an address needs a network' : undefined;
}

/** What is wrong with the form: the contract's schemas, and rules that need to know the lab. */
export function checkForm(
  form: NewGuestForm,
  guests: readonly Guest[],
  networks: readonly Network[],
): FieldErrors {
  const network = networks.find((other) => other.name === form.network);
  const name =
    complaint(GuestName, form.name) ??
    (guests.some((guest) => guest.name === form.name) ? `there is a guest ${form.name} already` : undefined);
  const image = complaint(GuestDefinition.shape.image, form.image);
  const memory = complaint(GuestDefinition.shape.memory, form.memory);
  const cpus = /^[0-9]{1,3}$/.test(form.cpus)
    ? complaint(GuestDefinition.shape.cpus, Number(form.cpus))
    : 'a whole number from 1 to 64';
  const unknown = form.network !== '' && !network ? `there is no network ${form.network}` : undefined;
  const address = addressErrorOf(form, network, guests);
  return {
    ...(name === undefined ? {} : { name }),
    ...(image === undefined ? {} : { image }),
    ...(memory === undefined ? {} : { memory }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(unknown === undefined ? {} : { network: unknown }),
    ...(address === undefined ? {} : { address }),
  };
}

/** A network's subnet; undefined where it has none (bridged) or is not in the file. */
const subnetIn = (network: Network | undefined): ReturnType<typeof parseSubnet> | undefined =>
  typeof network?.wanted?.subnet === 'string' ? parseSubnet(network.wanted.subnet) : undefined;

/** The next free address of a network, from its bottom; undefined when it is full or not known. */
export function freeAddress(network: Network | undefined, guests: readonly Guest[]): string | undefined {
  const subnet = subnetIn(network);
  if (!network || !subnet) return undefined;
  const used = taken(network, guests);
  // What DHCP hands out by itself is nobody's reservation.
  const from = network.observed?.dns ? addressNumber(network.observed.dns.from) : subnet.last;
  const to = network.observed?.dns ? addressNumber(network.observed.dns.to) : subnet.last;
  for (let number = subnet.first + 1; number < subnet.last; number++) {
    if (number >= from && number <= to) {
      number = to;
      continue;
    }
    const text = addressText(number);
    if (!used.has(text)) return text;
  }
  return undefined;
}

/** A name that is free, made like the ones that are there: `guest`, `guest-2`; after `web` and `web-2`, `web-3`. */
export function freeName(guests: readonly Guest[]): string {
  const names = new Set(guests.map((guest) => guest.name));
  const last = guests.at(-1)?.name ?? '';
  const stem = /^(.*?)-?[0-9]+$/.exec(last)?.[1] ?? last;
  const base = stem === '' || stem.length > 58 ? 'guest' : stem;
  if (!names.has(base)) return base;
  for (let number = 2; ; number++) if (!names.has(`${base}-${number}`)) return `${base}-${number}`;
}

/** The definition that a form without errors stands for. */
export function definitionOf(form: NewGuestForm): z.input<typeof GuestDefinition> {
  return {
    image: form.image,
    memory: form.memory,
    cpus: Number(form.cpus),
    nics:
      form.network === ''
        ? []
        : [{ network: form.network, ...(form.address === '' ? {} : { address: form.address }) }],
  };
}
