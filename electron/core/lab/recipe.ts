// SPDX-License-Identifier: Apache-2.0
import type { Scope } from '../../contract/names.ts';
import type { GuestRow } from '../../contract/rows.ts';
import type { TapyardError } from '../../contract/error.ts';
import type { Plan } from '../guest/prepare.ts';
import type { HeldTap } from '../guest/spec.ts';
import { bridgeIn, networkIn, type Picture, tapIn } from '../net/picture.ts';
import { subnetOf, formatIpv4 } from '../net/ipv4.ts';
import { filterTable, heldGroup } from './filter.ts';
import { guardGroup, guardTable, guardTap } from './guard.ts';
import { forwards, ipv6AddressOf, isOwn, reachesOut } from './resolve.ts';
import type {
  InterfaceNetwork,
  OwnNetwork,
  ResolvedGuest,
  ResolvedLab,
  ResolvedNic,
  UplinkNetwork,
} from './resolve.ts';
import { proxyCommand } from './recipe-proxy.ts';
import { shellCommand, shellLines, shellWord } from './shell-quote.ts';
import { isShape, noShape, sameShape, shapeNumbers, shapeText } from '../../contract/shape.ts';
import { interfaceSteps } from './recipe-interface.ts';
import { isPluggedLater, numberOf, qemuCommand } from './recipe-qemu.ts';
import { shapeCommands } from './recipe-shape.ts';

/** What the recipe is made of. */
export interface RecipeInput {
  readonly lab: ResolvedLab;
  readonly scope: Scope;
  /** The user's, outside any namespace: in labels and the table's name. */
  readonly uid: number;
  /** The uplink's interface beside the bridge (`eth0`, pasta's `up0`); null: none, or not known yet. */
  readonly uplink: string | null;
  /** The same of IPv6, which may leave elsewhere, or not at all. */
  readonly uplink6: string | null;
  /** The command lines of the guests that run, by name. */
  readonly argv: ReadonlyMap<string, readonly string[]>;
  /** How guests would be started now, by name; why they would not. None: not known. */
  readonly plans: ReadonlyMap<string, Plan | TapyardError>;
  /** The taps of the guests that run, by name. */
  readonly taps: ReadonlyMap<string, readonly HeldTap[]>;
}

/** What the kernel and QEMU hold now. `picture` is null while no netd runs for the lab. */
export interface Held {
  readonly picture: Picture | null;
  readonly guests: ReadonlyMap<string, GuestRow>;
}

/** Which part of the script a step belongs to. */
export type RecipePart = 'namespace' | 'network' | 'guest' | 'plug' | 'inside';

/** One step: what is done, the command that would do the same, and the question whether it holds. */
export interface RecipeStep {
  /** `lab/network/step` with netd's step ids, `lab/guest/nic/step`, `lab/guest/qemu`. */
  readonly id: string;
  readonly part: RecipePart;
  readonly title: string;
  readonly command: string;
  readonly network: string | null;
  readonly guest: string | null;
  /** Who does it, where it is not Tapyard. */
  readonly by: string | null;
  /** null: nothing can be asked. */
  readonly holds: (held: Held) => boolean | null;
}

/** pasta's side of the private scope's uplink: docs/netd-protocol.md and pasta(1). */
export function pastaCommand(ipv6: boolean): string {
  const own = '-t none -u none -T none -U none --no-map-gw --no-dhcp --no-dhcpv6 --no-ra';
  const addresses = `-a 169.254.2.2 -n 30 -g 169.254.2.1 -m 65520${
    ipv6 ? ' -a fd74:6170:7961:7264::2 -g fd74:6170:7961:7264::1' : ' --ipv4-only'
  }`;
  return `pasta --config-net ${own} -I up0 ${addresses}`;
}

/**
 * An interface's name where it can stand in a script and in nft's text as it is. The kernel allows quotes and
 * semicolons in names; such an uplink is left out.
 */
export function safeDevice(name: string | null): string | null {
  return name !== null && /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$/.test(name) ? name : null;
}

/** The steps of a lab in the order in which they are done. Pure. */
export function recipeOf(input: RecipeInput): RecipeStep[] {
  const { lab, scope, uid } = input;
  const withTable = filtered(lab);
  return [
    ...(scope === 'private' ? privateSteps(lab.name, pastaCommand(sendsIpv6(input))) : []),
    ...withTable.flatMap((network, index) =>
      network.interface === null
        ? networkSteps(input, network, index === 0)
        : interfaceSteps(network, lab.name, uid, index === 0 ? filterCommand(input) : null),
    ),
    ...lab.networks.flatMap((network) => (network.uplink === null ? [] : bridgedSteps(input, network))),
    ...lab.guests.flatMap((guest) => guestSteps(input, guest)),
  ];
}

/** Networks whose bridges netd makes and filters; the first of them has the table. Those that lead out come first. */
const filtered = ({ networks }: ResolvedLab): (OwnNetwork | InterfaceNetwork)[] => [
  ...networks.filter(isOwn),
  ...networks.flatMap((network) => (network.interface === null ? [] : [network])),
];

function privateSteps(lab: string, pasta: string): RecipeStep[] {
  const common = { part: 'namespace', network: null, guest: null } as const;
  return [
    {
      ...common,
      id: `${lab}/namespace`,
      title: 'a network namespace of the lab’s own',
      command: 'unshare --user --map-root-user --net',
      by: null,
      holds: ({ picture }) => picture !== null,
    },
    {
      ...common,
      id: `${lab}/uplink`,
      title: 'the way out of it: up0',
      command: `${pasta} PID`,
      by: 'by pasta',
      holds: ({ picture }) => picture !== null && picture.uplink.provider !== 'none',
    },
  ];
}

/** A bridged network is there already; what its taps need is told with the guests. */
function bridgedSteps({ lab, uid }: RecipeInput, network: UplinkNetwork): RecipeStep[] {
  const { name, uplink, antispoof } = network;
  const common = { part: 'network', network: `${lab.name}/${name}`, guest: null, by: null } as const;
  // The first network of all whose ports are filtered has the table.
  const [first] = [...filtered(lab), ...lab.networks.filter((each) => each.antispoof)];
  return [
    {
      ...common,
      id: `${lab.name}/${name}/bridge`,
      title: `${name} is the bridge ${uplink}, which is there already`,
      command: `ip -d link show ${uplink} type bridge`,
      holds: (held) => bridgeIn(held.picture, lab.name, name)?.kind === 'bridge',
    },
    ...(antispoof
      ? [
          {
            ...common,
            id: `${lab.name}/${name}/filter`,
            title: `guests on ${uplink} send as themselves`,
            command:
              first === network ? nft([guardTable(uid, lab.networks)]) : `# ${uplink} is in the table above`,
            holds: (held: Held) => networkIn(held.picture, lab.name, name)?.antispoof === true,
          },
        ]
      : []),
  ];
}

function networkSteps(input: RecipeInput, network: OwnNetwork, first: boolean): RecipeStep[] {
  const { lab, scope, uid, uplink, uplink6 } = input;
  const { name } = network;
  const bridge = (held: Held): ReturnType<typeof bridgeIn> => bridgeIn(held.picture, lab.name, name);
  const observed = (held: Held): ReturnType<typeof networkIn> => networkIn(held.picture, lab.name, name);
  const step = (id: string, title: string, command: string, holds: RecipeStep['holds']): RecipeStep => ({
    id: `${lab.name}/${name}/${id}`,
    part: 'network',
    title,
    command,
    network: `${lab.name}/${name}`,
    guest: null,
    by: null,
    holds,
  });
  const leadsOut = forwards(network.mode);
  // With the first network, whose filter needs to know whether it was opened.
  const opens = first && uplink !== null && lab.networks.some(({ mode }) => forwards(mode));
  const cidr = `${network.address}/${network.prefix}`;
  const own6 = ipv6AddressOf(network, network.address);
  const cidr6 = own6 === null ? null : `${own6}/64`;
  const opens6 = first && scope === 'host' && uplink6 !== null && sendsIpv6(input);
  const alias = `tapyard:${uid}:${lab.name}:${name}`;
  return [
    step(
      'bridge',
      `bridge ${name}`,
      [
        // STP off and no forward delay: a port forwards at once, so DHCP need not wait 30 s.
        `ip link add ${name} address ${network.mac} mtu ${network.mtu} type bridge stp_state 0 forward_delay 0 no_linklocal_learn 1`,
        `ip link set ${name} alias ${shellWord(alias)}`,
      ].join('\n'),
      (held) => bridge(held)?.kind === 'bridge',
    ),
    step(
      'bridge_address',
      `the host is ${network.address} on ${name}`,
      [
        `ip addr add ${cidr} brd + dev ${name}`,
        // Nobody else is on a new bridge: its address need not wait for objections.
        ...(cidr6 === null ? [] : [`ip addr add ${cidr6} dev ${name} nodad`]),
      ].join('\n'),
      (held) =>
        bridge(held)?.addresses.includes(cidr) === true &&
        (cidr6 === null || bridge(held)?.addresses.includes(cidr6) === true),
    ),
    step('bridge_up', `${name} on`, `ip link set ${name} up`, (held) => bridge(held)?.up ?? false),
    step(
      'forwarding',
      leadsOut
        ? `forward between ${name} and ${uplink ?? 'the uplink'}`
        : `no forwarding between ${name} and others`,
      [
        forwarding(name, leadsOut),
        ...(opens ? [forwardUplink(uplink)] : []),
        ...(leadsOut && own6 !== null ? [scope === 'private' ? router6 : forwarding6(name)] : []),
        ...(opens6 ? [forwardUplink6(uplink6)] : []),
      ].join('\n'),
      (held) =>
        observed(held)?.forwarding === leadsOut &&
        (!leadsOut || uplink === null || (held.picture?.uplink.forwarding ?? false)),
    ),
    step(
      'filter',
      filterTitle(network),
      [
        first ? filterCommand(input) : `# ${name} is in the table above`,
        // The filters of other users' labs let be what goes to it.
        `ip link set ${name} group ${heldGroup}`,
      ].join('\n'),
      (held) => {
        const now = observed(held);
        return (
          now !== undefined &&
          now.filter &&
          now.mode === network.mode &&
          now.nat === network.nat &&
          now.antispoof === network.antispoof
        );
      },
    ),
    ...(network.proxyArp && uplink !== null
      ? [
          step(
            'proxy_arp',
            `${uplink} answers ARP for the guests of ${name}`,
            proxyCommand(network, uplink, 'add'),
            (held) => (observed(held)?.proxy_arp?.device ?? null) !== null,
          ),
        ]
      : []),
    ...(network.dhcp
      ? [
          step(
            'dns',
            `DHCP and DNS on ${name}`,
            dnsmasqCommand(lab.name, network),
            (held) => (observed(held)?.dns?.pid ?? null) !== null,
          ),
        ]
      : []),
  ];
}

function filterTitle({ mode, nat, subnet }: OwnNetwork): string {
  if (mode !== 'nat') return `filter for ${subnet}, ${mode}`;
  return nat ? `filter and NAT for ${subnet}` : `filter for ${subnet}, NAT off`;
}

export const forwarding = (device: string, on: boolean): string =>
  `echo ${on ? 1 : 0} > /proc/sys/net/ipv4/conf/${device}/forwarding`;

/** An uplink that did not forward must not become a router: its other traffic is dropped (set `opened`). */
const forwardUplink = (device: string): string =>
  [
    `opened=""; [ "$(cat /proc/sys/net/ipv4/conf/${device}/forwarding)" = 1 ] || opened=${device}`,
    forwarding(device, true),
  ].join('\n');

/** Whether a network sends IPv6 out. */
export const sendsIpv6 = ({ lab }: RecipeInput): boolean =>
  lab.networks.some(({ mode, ipv6 }) => forwards(mode) && ipv6 !== null);

/** A namespace of the lab's own may well be a router. */
const allForwarding6 = '/proc/sys/net/ipv6/conf/all/forwarding';
const router6 = `echo 1 > ${allForwarding6}`;
export const noRouter6 = `echo 0 > ${allForwarding6}`;

/** Linux 6.17 has the switch; without it all of the computer is made a router, for labs alone ({@link routerForLabs}). */
const force = (device: string): string => `/proc/sys/net/ipv6/conf/${device}/force_forwarding`;
const forwardAlone6 = (device: string): string => `[ ! -e ${force(device)} ] || echo 1 > ${force(device)}`;
const forwardUplink6 = (device: string): string =>
  [
    `opened6=""; [ ! -e ${force(device)} ] || [ "$(cat ${force(device)})" = 1 ] || opened6=${device}`,
    forwardAlone6(device),
  ].join('\n');

const conf6 = '/proc/sys/net/ipv6/conf';
/** Where accept_ra is not 2, the kernel forgets the routes that it has from router advertisements. */
const keepingRoutes6 = (write: string): string =>
  [
    `ra=$(grep -lx 1 ${conf6}/*/accept_ra) || true; for f in $ra; do echo 2 > $f; done`,
    write,
    'for f in $ra; do echo 1 > $f; done',
  ].join('\n');
/** Guests believe only a router that it is one. */
const forwarding6 = (bridge: string): string =>
  [forwardAlone6(bridge), keepingRoutes6(`echo 1 > ${conf6}/${bridge}/forwarding`)].join('\n');

/** The drop is first, and no interface is a router's to its neighbours. Whoever else makes it a router writes 1. */
const routerForLabs = (uid: number): string =>
  [
    `if [ ! -e ${force('default')} ] && [ "$(cat ${allForwarding6})" = 0 ]; then`,
    `nft add element inet tapyard_${uid} router '{ ipv6 }'`,
    `hosts=$(grep -lx 0 ${conf6}/*/forwarding | grep -v /all/) || true`,
    keepingRoutes6(`echo 2 > ${allForwarding6}; for f in $hosts; do echo 0 > $f; done`),
    'fi',
  ].join('\n');

const nft = (tables: readonly string[]): string => `nft -f - <<'END'\n${tables.join('\n')}\nEND`;

function filterCommand(input: RecipeInput): string {
  const { uid, lab, scope, uplink, uplink6 } = input;
  const tables = [filterTable(uid, filtered(lab), uplink, uplink6), guardTable(uid, lab.networks)].filter(
    Boolean,
  );
  const add = (set: string): string =>
    `[ -z "\${${set}:-}" ] || nft add element inet tapyard_${uid} ${set} "{ \\"$${set}\\" }"`;
  return [
    nft(tables),
    ...(uplink === null ? [] : [add('opened')]),
    ...(uplink6 === null ? [] : [add('opened6')]),
    ...(uplink6 !== null && scope === 'host' && sendsIpv6(input) ? [routerForLabs(uid)] : []),
  ].join('\n');
}

/** Where the script keeps dnsmasq's files. */
export const recipeDirectory = (lab: string): string => `"\${XDG_RUNTIME_DIR:-/run}"/tapyard-recipe-${lab}`;

function dnsmasqCommand(lab: string, network: OwnNetwork): string {
  const { dhcp, name } = network;
  if (!dhcp) return '';
  const options = [
    'dnsmasq',
    '--conf-file=/dev/null',
    '--no-hosts',
    // With a way out it asks the host's own name servers; without one nobody.
    ...(reachesOut(network) ? [] : ['--no-resolv']),
    '--user=',
    '--group=',
    `--interface=${name}`,
    '--except-interface=lo',
    '--bind-dynamic',
    `--dhcp-range=${dhcp.from},${dhcp.to},${netmask(network.prefix)},12h`,
    ...raOptions(network),
    ...dhcp.reservations.map(({ mac, address, guest }) => {
      const ipv6 = ipv6AddressOf(network, address);
      return `--dhcp-host=${mac},${address},${ipv6 === null ? '' : `[${ipv6}],`}${guest}`;
    }),
    '--dhcp-lease-max=4096',
    '--dhcp-authoritative',
    '--no-ping',
    '--dhcp-ignore-clid',
    ...(forwards(network.mode) ? [] : ['--dhcp-option=option:router']),
    ...(network.mtu === 1500 ? [] : [`--dhcp-option=option:mtu,${network.mtu}`]),
    '--dhcp-name-match=set:nobodys,wpad',
    '--dhcp-name-match=set:nobodys,isatap',
    '--dhcp-ignore-names=tag:nobodys',
    '--domain=lab',
    '--local=/lab/',
    '--quiet-dhcp',
  ];
  const files = [`--dhcp-leasefile="$run"/${name}.leases`, `--pid-file="$run"/${name}.pid`];
  return [
    `run=${recipeDirectory(lab)}; mkdir -p -m 700 "$run"`,
    [shellLines(options), ...files].join(' \\\n  '),
  ].join('\n');
}

/** Router advertisements and DHCPv6; no default route where nothing leads out. */
function raOptions({ name, mode, ipv6 }: OwnNetwork): string[] {
  if (ipv6 === null) return [];
  const base = ipv6.replace('::/64', '::');
  return [
    '--enable-ra',
    `--dhcp-range=${base}1:0,${base}1:3ff,slaac,ra-names,64,12h`,
    ...(forwards(mode) ? [] : [`--ra-param=${name},0,0`]),
  ];
}

function netmask(prefix: number): string {
  const { network, broadcast } = subnetOf(`0.0.0.0/${prefix}`);
  return formatIpv4(2 ** 32 - 1 - (broadcast - network));
}

function isAlive(held: Held, guest: string): boolean {
  const state = held.guests.get(guest)?.state;
  return state === 'running' || state === 'paused' || state === 'shutting down';
}

function guestSteps(input: RecipeInput, guest: ResolvedGuest): RecipeStep[] {
  const { lab } = input;
  const id = `${lab.name}/${guest.name}`;
  return [
    ...guest.nics.flatMap((nic) => tapSteps(input, guest, nic)),
    {
      id: `${id}/qemu`,
      part: 'guest',
      title: `guest ${guest.name} in QEMU`,
      command: qemuCommand(input, guest),
      network: null,
      guest: id,
      by: null,
      holds: (held) => isAlive(held, guest.name),
    },
    ...guest.nics.flatMap((nic) => plugSteps(input, guest, nic)),
    ...guest.nics.flatMap((nic) => insideSteps(input, guest, nic)),
  ];
}

function tapSteps(input: RecipeInput, guest: ResolvedGuest, nic: ResolvedNic): RecipeStep[] {
  const { lab, uid, scope } = input;
  const id = `${lab.name}/${guest.name}/${nic.index}`;
  const number = numberOf(input, guest, nic);
  const network = lab.networks.find(({ name }) => name === nic.network);
  const mtu = network?.mtu ?? 1500;
  const bridgeOf = network?.uplink ?? nic.network;
  const group = network === undefined ? null : guardGroup(network);
  const grouped = group === null ? '' : ` group ${group}`;
  // In a user namespace its owner is root; on the host the tap is for the user who runs QEMU.
  const owner = scope === 'host' && uid !== 0 ? ` user ${uid}` : '';
  const mac = `fe:${nic.mac.slice(3)}`;
  const alias = `tapyard:${uid}:${lab.name}:${nic.network}:${guest.name}/${number}`;
  const common = {
    part: 'network',
    network: `${lab.name}/${nic.network}`,
    guest: `${lab.name}/${guest.name}`,
    by: null,
  } as const;
  const tap = (held: Held): ReturnType<typeof tapIn> => tapIn(held.picture, lab.name, guest.name, number);
  return [
    {
      ...common,
      id: `${id}/tap`,
      title: `${nic.tap}, the cable of ${guest.name}`,
      command: [
        `ip tuntap add dev ${nic.tap} mode tap vnet_hdr${owner}`,
        `ip link set ${nic.tap} address ${mac} mtu ${mtu}${grouped} addrgenmode none`,
        `ip link set ${nic.tap} alias ${shellWord(alias)}`,
        // Not where the kernel has no IPv6.
        `test ! -d /proc/sys/net/ipv6 || echo 1 > /proc/sys/net/ipv6/conf/${nic.tap}/disable_ipv6`,
        ...(network === undefined ? [] : guardTap(uid, network, guest, nic)),
      ].join('\n'),
      holds: (held) => tap(held)?.kind === 'tun',
    },
    ...(isShape(nic.shape)
      ? [
          {
            ...common,
            id: `${id}/tap_shape`,
            title: `${nic.tap} is held to ${shapeText(nic.shape)}`,
            command: shapeCommands({ tap: nic.tap, mac, alias, mtu }, nic.shape).join('\n'),
            holds: (held: Held) => sameShape(tap(held)?.shape ?? noShape, shapeNumbers(nic.shape)),
          },
        ]
      : []),
    {
      ...common,
      id: `${id}/tap_port`,
      title: `${nic.tap} is a port of ${bridgeOf}`,
      command: [
        `ip link set ${nic.tap} master ${bridgeOf} up`,
        ...(network?.mode === 'bridged' && network.antispoof ? fixPort(nic) : []),
      ].join('\n'),
      holds: (held) => {
        const link = tap(held);
        const bridge = bridgeIn(held.picture, lab.name, nic.network);
        return link !== undefined && link.up && bridge !== undefined && link.master === bridge.ifindex;
      },
    },
  ];
}

/** Frames that come to no rule (LLDP) teach somebody else's bridge no other address, and no other spanning tree. */
const fixPort = ({ tap, mac }: ResolvedNic): string[] => [
  `bridge fdb add ${mac} dev ${tap} master static sticky`,
  `bridge link set dev ${tap} learning off guard on`,
];

/** How a NIC comes to a QEMU that runs; a descriptor cannot be sent by a script, so the tap is named. */
function plugSteps(input: RecipeInput, guest: ResolvedGuest, nic: ResolvedNic): RecipeStep[] {
  if (!isPluggedLater(input, guest, nic)) return [];
  const id = `${input.lab.name}/${guest.name}`;
  const number = numberOf(input, guest, nic);
  const [netdev, device] = [`net${number}`, `nic${number}`];
  const monitor = (input.argv.get(guest.name) ?? []).find((word) => word.startsWith('socket,id=plug,'));
  const path = /,path=(.*),server=on/.exec(monitor ?? '')?.[1]?.replaceAll(',,', ',') ?? 'nic.sock';
  const tap = { type: 'tap', id: netdev, ifname: nic.tap, script: 'no', downscript: 'no' };
  const bus = `port${number}`;
  const card = { driver: 'virtio-net-pci', id: device, bus, netdev, mac: nic.mac, romfile: '' };
  const lines = [
    { execute: 'qmp_capabilities' },
    { execute: 'netdev_add', arguments: tap },
    { execute: 'device_add', arguments: card },
  ];
  return [
    {
      id: `${id}/${nic.index}/plug`,
      part: 'plug',
      title: `${nic.tap} is plugged into ${guest.name} as eth${nic.index}`,
      command: [
        `socat -t1 - ${shellWord(`UNIX-CONNECT:${path}`)} <<'END'`,
        ...lines.map((line) => JSON.stringify(line)),
        'END',
      ].join('\n'),
      network: `${input.lab.name}/${nic.network}`,
      guest: id,
      by: null,
      holds: (held) => (held.guests.get(guest.name)?.nics[nic.index]?.tap ?? null) !== null,
    },
  ];
}

/** What the guest itself does, told by DHCP. */
function insideSteps(input: RecipeInput, guest: ResolvedGuest, nic: ResolvedNic): RecipeStep[] {
  const { lab } = input;
  const network = lab.networks.find((candidate) => candidate.name === nic.network);
  if (!network || !isOwn(network) || !network.dhcp) return [];
  // A lease outlives its guest; an address in a guest that is off is nobody's.
  const leased = (held: Held): boolean =>
    isAlive(held, guest.name) &&
    (networkIn(held.picture, lab.name, nic.network)?.leases.some((lease) => lease.mac === nic.mac) ?? false);
  const step = (id: string, title: string, command: string, holds: RecipeStep['holds']): RecipeStep => ({
    id: `${lab.name}/${guest.name}/${nic.index}/${id}`,
    part: 'inside',
    title,
    command,
    network: `${lab.name}/${nic.network}`,
    guest: `${lab.name}/${guest.name}`,
    by: 'by DHCP',
    holds,
  });
  const device = `eth${nic.index}`;
  const address = nic.address ?? `ADDRESS # one of ${network.dhcp.from} to ${network.dhcp.to}`;
  return [
    step(
      'address',
      `in ${guest.name}: its address`,
      nic.address === null
        ? `ip addr add ${address}`
        : shellCommand(['ip', 'addr', 'add', `${address}/${network.prefix}`, 'dev', device]),
      leased,
    ),
    ...(forwards(network.mode)
      ? [
          step(
            'route',
            `in ${guest.name}: the default route`,
            `ip route add default via ${network.address}`,
            () => null,
          ),
        ]
      : []),
    step(
      'resolver',
      `in ${guest.name}: its name server`,
      `echo nameserver ${network.address} > /etc/resolv.conf`,
      () => null,
    ),
  ];
}
