// SPDX-License-Identifier: Apache-2.0
import { NetworkDefinition, type NetworkMode } from '../../../electron/contract/lab-file.ts';
import { Ipv4, Ipv4Cidr, NetworkName } from '../../../electron/contract/names.ts';
import type { z } from '../../../electron/contract/zod.ts';
import { addressNumber, addressText, inSubnet, parseSubnet, type Subnet } from '../../lib/ipv4.ts';
import { isLinkLocal } from '../../lib/address.ts';
import type { Row } from '../../store/tables.ts';

/** What is typed into the form of a network. */
export interface NetworkForm {
  readonly name: string;
  readonly mode: NetworkMode;
  /** Where the mode is `bridged`: by a bridge of this computer, or an interface that it has no use for. */
  readonly via: 'uplink' | 'interface';
  readonly uplink: string;
  readonly interface: string;
  /** Where the mode is `routed`: the subnet is a part of the LAN's. */
  readonly proxyArp: boolean;
  readonly subnet: string;
  readonly dhcp: 'half' | 'range' | 'off';
  readonly from: string;
  readonly to: string;
  /** '' is the default. */
  readonly mtu: string;
}

export type FieldName = keyof NetworkForm;

/** What is wrong, by field. */
export type FieldErrors = { readonly [Field in FieldName]?: string };

type Guest = Pick<Row<'guests'>, 'name' | 'nics' | 'pid'>;
type Network = Pick<Row<'networks'>, 'name' | 'definition' | 'wanted'>;

/** A subnet that somebody else uses. */
export interface Used {
  readonly subnet: string;
  readonly by: string;
}

/** What a network is checked against. */
export interface Around {
  readonly scope: Row<'labs'>['scope'];
  /** The network that is edited; null for a new one. */
  readonly edited: Network | null;
  /** Every network of the lab. */
  readonly networks: readonly Network[];
  readonly guests: readonly Guest[];
  readonly used: readonly Used[];
}

/** What a network of each mode gives its guests. */
export const modeWords: Readonly<Record<NetworkMode, string>> = {
  nat: 'NAT: guests reach the internet under this computer’s address',
  routed: 'Routed: guests keep their own addresses on the LAN',
  isolated: 'Isolated: guests reach each other only',
  bridged: 'Bridged: guests are on a bridge of this computer, or behind an interface',
};

/** The first complaint of a schema about a value, undefined when it has none. */
function complaint(schema: z.ZodType, value: unknown): string | undefined {
  const result = schema.safeParse(value);
  return result.success ? undefined : result.error.issues[0]?.message;
}

const overlap = (a: Subnet, b: Subnet): boolean => a.first <= b.last && b.first <= a.last;

function nameError({ name }: NetworkForm, { edited, networks }: Around): string | undefined {
  if (edited) return undefined;
  const taken = networks.some((network) => network.name === name);
  return complaint(NetworkName, name) ?? (taken ? `there is a network ${name} already` : undefined);
}

function modeError({ mode }: NetworkForm, { scope }: Around): string | undefined {
  if (scope === 'host' || (mode !== 'routed' && mode !== 'bridged')) return undefined;
  return `a ${mode} network needs the host scope: the private one has no way to the LAN but pasta`;
}

/** The LAN's subnet has room for that of a network with proxy ARP. */
const partOfLan = 'a part of the LAN’s subnet, of 256 addresses at most, such as 192.168.1.192/28';

function subnetError(form: NetworkForm, around: Around): string | undefined {
  const { subnet } = form;
  const proxied = form.mode === 'routed' && form.proxyArp;
  const malformed = complaint(Ipv4Cidr, subnet);
  const range = parseSubnet(subnet);
  if (proxied && (!range || range.last - range.first > 255)) return partOfLan;
  // A subnet of the form's own kind, such as `auto`, is for the schema to know.
  if (malformed !== undefined || !range)
    return subnet !== '' && NetworkDefinition.shape.subnet.safeParse(subnet).success ? undefined : malformed;
  if (addressNumber(subnet.split('/')[0] ?? '') !== range.first)
    return `that is an address inside ${addressText(range.first)}/${subnet.split('/')[1]}`;
  for (const other of around.networks) {
    const its = parseSubnet(other.wanted?.subnet ?? '');
    if (other.name !== around.edited?.name && its && overlap(range, its))
      return `it overlaps ${other.wanted?.subnet} of ${other.name}`;
  }
  // The LAN's subnet is meant to hold that of a network with proxy ARP.
  const used = around.used.filter((other) => !(proxied && holds(other.subnet, range)));
  const host = around.scope === 'host' ? usedBy(subnet, used) : undefined;
  return host && `it overlaps ${host.subnet} of ${host.by}`;
}

function viaError(form: NetworkForm, { edited, networks }: Around): string | undefined {
  const device = form[form.via];
  if (device === '') return form.via === 'uplink' ? 'the name of a bridge' : 'the name of an interface';
  const malformed = complaint(NetworkName, device);
  if (malformed !== undefined || form.via === 'uplink') return malformed;
  if (device === form.name) return 'the network’s own bridge has that name';
  const other = networks.find(
    ({ name, definition }) => name !== edited?.name && definition?.interface === device,
  );
  return other && `network ${other.name} has it already`;
}

/** Whether a subnet has another one in it, and more. */
function holds(subnet: string, part: Subnet): boolean {
  const whole = parseSubnet(subnet);
  return (
    whole !== null &&
    whole.first <= part.first &&
    part.last <= whole.last &&
    whole.last - whole.first > part.last - part.first
  );
}

/** Who else uses a part of a subnet. */
function usedBy(subnet: string, used: readonly Used[]): Used | undefined {
  const range = parseSubnet(subnet);
  return used.find((other) => {
    const its = parseSubnet(other.subnet);
    return range && its && overlap(range, its);
  });
}

function rangeErrors({ subnet, from, to }: NetworkForm): { from?: string; to?: string } {
  const range = parseSubnet(subnet);
  const one = (address: string): string | undefined => {
    const form = complaint(Ipv4, address);
    if (form !== undefined || !range) return form;
    const number = addressNumber(address);
    const inside = inSubnet(number, range) && number !== range.first && number !== range.last;
    return inside ? undefined : `not an address of ${subnet}`;
  };
  const [first, last] = [one(from), one(to)];
  if (first !== undefined || last !== undefined)
    return { ...(first === undefined ? {} : { from: first }), ...(last === undefined ? {} : { to: last }) };
  return addressNumber(from) <= addressNumber(to) ? {} : { to: `before ${from}` };
}

function dhcpError({ dhcp }: NetworkForm, around: Around): string | undefined {
  if (dhcp !== 'off') return undefined;
  const names = reserved(around).map(({ guest }) => guest);
  return names.length === 0
    ? undefined
    : `${names.join(', ')} ${names.length === 1 ? 'gets its address' : 'get their addresses'} from it`;
}

/** Addresses that the edited network's guests have reserved. */
function reserved({ edited, guests }: Around): { guest: string; address: string }[] {
  return guests.flatMap(({ name, nics }) =>
    nics.flatMap(({ network, address, addressSource }) =>
      edited !== null && network === edited.name && address !== null && addressSource === 'reserved'
        ? [{ guest: name, address }]
        : [],
    ),
  );
}

/** Interfaces of this computer that may do for a bridged network, as far as the map knows them. */
export function candidates(links: readonly Row<'links'>[], via: NetworkForm['via']): string[] {
  const theirs = links.filter(({ ours, name }) => ours === null && name !== 'lo');
  const fit = (link: Row<'links'>): boolean =>
    via === 'uplink'
      ? link.kind === 'bridge'
      : ['', 'veth', 'vlan'].includes(link.kind) && link.master === null && !link.addresses.some(isGlobal);
  return theirs.filter(fit).map(({ name }) => name);
}

const isGlobal = (address: string): boolean => !isLinkLocal(address);

/** What is wrong with the form: the contract's schemas, and rules that need to know the lab. */
export function checkForm(form: NetworkForm, around: Around): FieldErrors {
  const name = nameError(form, around);
  const mode = modeError(form, around);
  if (form.mode === 'bridged') {
    return defined({ name, mode, [form.via]: viaError(form, around) });
  }
  const mtu =
    form.mtu === '' || (/^[0-9]{1,5}$/.test(form.mtu) && Number(form.mtu) >= 576 && Number(form.mtu) <= 65535)
      ? undefined
      : 'a whole number from 576 to 65535, or nothing';
  return defined({
    name,
    mode,
    subnet: subnetError(form, around),
    dhcp: dhcpError(form, around),
    mtu,
    ...(form.dhcp === 'range' ? rangeErrors(form) : {}),
  });
}

const defined = (errors: { [Field in FieldName]?: string | undefined }): FieldErrors =>
  Object.fromEntries(Object.entries(errors).filter(([, error]) => error !== undefined));

/** The definition that a form without errors stands for. Keys that the form does not show stay as they are. */
export function definitionOf(form: NetworkForm, edited: NetworkDefinition | null): NetworkDefinition {
  const { mode } = form;
  if (mode === 'bridged') {
    const { antispoof } = edited ?? {};
    return { mode, [form.via]: form[form.via], ...(antispoof === undefined ? {} : { antispoof }) };
  }
  const {
    uplink: _uplink,
    interface: _interface,
    proxyArp: _proxyArp,
    nat,
    address,
    mtu: _mtu,
    dhcp: _dhcp,
    ...kept
  } = edited ?? { mode };
  // An address of the bridge's own goes along with a subnet of the same size, and is of no use in another.
  const fits = edited?.subnet?.split('/')[1] === form.subnet.split('/')[1];
  return {
    ...kept,
    subnet: form.subnet,
    mode,
    ...(address !== undefined && fits ? { address } : {}),
    ...(nat !== undefined && mode === 'nat' ? { nat } : {}),
    ...(mode === 'routed' && form.proxyArp ? { proxyArp: true } : {}),
    ...(form.mtu === '' ? {} : { mtu: Number(form.mtu) }),
    ...(form.dhcp === 'off' ? { dhcp: false } : {}),
    ...(form.dhcp === 'range' ? { dhcp: { from: form.from, to: form.to } } : {}),
  };
}

/** What the form of a network begins with. */
export function formOf({ name, definition, wanted }: Network): NetworkForm {
  const range = definition?.dhcp || undefined;
  return {
    name,
    mode: definition?.mode ?? 'nat',
    via: definition?.interface === undefined ? 'uplink' : 'interface',
    uplink: definition?.uplink ?? '',
    interface: definition?.interface ?? '',
    proxyArp: definition?.proxyArp ?? false,
    subnet: definition?.subnet ?? wanted?.subnet ?? '',
    dhcp: range ? 'range' : definition?.dhcp === false ? 'off' : 'half',
    from: range?.from ?? '',
    to: range?.to ?? '',
    mtu: definition?.mtu === undefined ? '' : String(definition.mtu),
  };
}

/** A new network: the next free name, NAT. */
export function newForm(networks: readonly Network[]): NetworkForm {
  const names = new Set(networks.map(({ name }) => name));
  let number = 0;
  while (names.has(`br${number}`)) number++;
  const mode = 'nat';
  const others = { via: 'uplink', uplink: '', interface: '', proxyArp: false } as const;
  return { name: `br${number}`, mode, ...others, subnet: '', dhcp: 'half', from: '', to: '', mtu: '' };
}

/** The form with another subnet: a DHCP range goes along with one of the same size. */
export function withSubnet(form: NetworkForm, subnet: string): NetworkForm {
  const [old, next] = [parseSubnet(form.subnet), parseSubnet(subnet)];
  if (!old || !next || old.last - old.first !== next.last - next.first) return { ...form, subnet };
  const moved = (address: string): string =>
    Ipv4.safeParse(address).success && inSubnet(addressNumber(address), old)
      ? addressText(addressNumber(address) - old.first + next.first)
      : address;
  return { ...form, subnet, from: moved(form.from), to: moved(form.to) };
}

/** The form with a DHCP range to begin with: the second half of the subnet, which it is without one. */
export function withDhcp(form: NetworkForm, dhcp: NetworkForm['dhcp']): NetworkForm {
  const range = parseSubnet(form.subnet);
  if (dhcp !== 'range' || !range || form.from !== '') return { ...form, dhcp };
  const middle = range.first + (range.last + 1 - range.first) / 2;
  return { ...form, dhcp, from: addressText(middle), to: addressText(range.last - 1) };
}

/** What saving will do to guests and what they will not reach, in sentences. */
export function consequences(form: NetworkForm, around: Around): string[] {
  const { edited, guests, used, scope } = around;
  const notes: string[] = [];
  const host = scope === 'private' && form.mode !== 'bridged' ? usedBy(form.subnet, used) : undefined;
  if (host) notes.push(`Its guests will not reach ${host.subnet}, which is that of ${host.by}.`);
  if (!edited) return notes;
  const running = guests
    .filter(({ pid, nics }) => pid !== null && nics.some((nic) => nic.network === edited.name))
    .map(({ name }) => name);
  const before = formOf(edited);
  const subnet = form.mode !== 'bridged' && form.subnet !== before.subnet;
  if (subnet) {
    const next = withSubnet({ ...before, from: '', to: '' }, form.subnet);
    for (const { guest, address } of reserved(around)) {
      const to = withSubnet({ ...before, from: address }, form.subnet).from;
      if (to !== address && next.subnet === form.subnet) notes.push(`${guest} moves to ${to}.`);
    }
  }
  if (running.length > 0 && (subnet || form.mtu !== before.mtu))
    notes.push(
      `${running.join(', ')} ${running.length === 1 ? 'runs and keeps its old settings until it asks' : 'run and keep their old settings until they ask'} DHCP again: reboot ${running.length === 1 ? 'it' : 'them'}.`,
    );
  if (running.length > 0 && form.mode !== before.mode)
    notes.push(`Connections of ${running.join(', ')} to the outside end.`);
  return notes;
}
