// SPDX-License-Identifier: Apache-2.0
import { doorWords } from '../../contract/doors.ts';
import type { GuestRow, LabRow, LinkRow, NetworkRow } from '../../contract/rows.ts';
import { bridgeName } from '../../contract/rows.ts';
import { shapeText } from '../../contract/shape.ts';
import type { Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { problemLines } from '../problems.ts';
import { labOf } from '../select-lab.ts';
import { printJson, safeLine } from '../terminal.ts';

/** Everything that the tree is drawn from, of one lab. */
export interface Topology {
  lab: LabRow;
  networks: NetworkRow[];
  links: LinkRow[];
  guests: GuestRow[];
}

type Node = { text: string; below: Node[] };

function draw(nodes: readonly Node[], indent: string): string {
  return nodes
    .map((node, index) => {
      const last = index === nodes.length - 1;
      const line = `${indent}${last ? '└─ ' : '├─ '}${safeLine(node.text)}\n`;
      return line + draw(node.below, `${indent}${last ? '   ' : '│  '}`);
    })
    .join('');
}

function uplinkText({ uplink, state }: LabRow): string {
  if (uplink === null) return `uplink: none (the lab is ${state})`;
  if (uplink.provider === 'none') {
    return `uplink: none${uplink.reason === null ? '' : ` (${uplink.reason.message})`}`;
  }
  const host = [uplink.hostDevice ?? uplink.device ?? '?', ...uplink.addresses].join(' ');
  const way = uplink.provider === 'pasta' ? ` through pasta (${uplink.device ?? '?'})` : '';
  return `uplink ${host}${way}${uplink.gateway === null ? '' : `, gateway ${uplink.gateway}`}`;
}

/** How IPv6 leaves, for a lab that has it. */
function uplink6Text({ lab, networks }: Topology): string {
  const ipv6 = lab.uplink?.ipv6 ?? null;
  if (ipv6 === null || networks.every(({ wanted }) => (wanted?.ipv6 ?? null) === null)) return '';
  if (ipv6.reason !== null) return `${safeLine(`uplink of IPv6: none (${ipv6.reason.message})`)}\n`;
  if (ipv6.device === null) return '';
  const gateway = ipv6.gateway === null ? '' : `, gateway ${ipv6.gateway}`;
  const router = ipv6.router ? '; this computer forwards IPv6, for labs alone' : '';
  return `${safeLine(`uplink of IPv6 ${ipv6.hostDevice ?? ipv6.device}${gateway}${router}`)}\n`;
}

function guestText(guest: GuestRow, network: string): string {
  const nics = guest.nics.filter((nic) => nic.network === network);
  const nic = nics[0];
  const address = nic?.address ?? null;
  const source =
    address === null ? 'no address' : nic?.leased === true ? address : `${address} (no lease yet)`;
  const shape = shapeText(nic?.shape ?? {});
  return `${guest.name}  ${guest.state}  ${source}  ${nic?.mac ?? ''}${shape === '' ? '' : `  ${shape}`}`;
}

/** Whose a port is that no NIC of the lab file hangs on. */
function portOwner({ name, ours }: LinkRow, guests: readonly GuestRow[]): string {
  const left = guests.some(({ leftNics }) => leftNics.some(({ tap }) => tap === name));
  return `${ours?.guest ?? 'not Tapyard’s'}${left ? ' (not in the lab file)' : ''}`;
}

function portNodes(network: NetworkRow, { guests, links }: Topology): Node[] {
  const used = new Set<string>();
  const nodes = guests.flatMap((guest) =>
    guest.nics
      .filter((nic) => nic.network === network.name)
      .map((nic): Node => {
        if (nic.tap !== null) used.add(nic.tap);
        const text = nic.tap ?? `(${nic.wantedTap}: not there)`;
        return { text: `${text} ${nic.plugged ? '──' : '─╳─'} ${guestText(guest, network.name)}`, below: [] };
      }),
  );
  const others = links.filter((link) => link.master === bridgeName(network) && !used.has(link.name));
  return [
    ...nodes,
    ...others.map((link): Node => ({
      text: `${link.name} ── ${link.name === network.wanted?.interface ? 'the network behind it' : portOwner(link, guests)}${link.carrier ? '' : ' (no carrier)'}`,
      below: [],
    })),
  ];
}

function doorNodes({ observed }: NetworkRow): Node[] {
  return (observed?.doors ?? []).map((door) => ({ text: `firewall ${doorWords(door)}`, below: [] }));
}

/** What is wrong with a network that is there; of doors their own lines tell. */
function reasonNodes({ observed, reason }: NetworkRow): Node[] {
  if (observed === null || reason === null || reason.code === 'DOOR_SHUT') return [];
  return [{ text: reason.message, below: [] }];
}

function networkNode(network: NetworkRow, topology: Topology): Node {
  const { observed, wanted } = network;
  const { mode = 'nat', nat = false } = observed ?? wanted ?? {};
  const proxy = observed?.proxyArp?.device ?? null;
  const way =
    mode === 'nat'
      ? `NAT ${nat ? 'on' : 'off'}`
      : `${mode}${proxy === null ? '' : `, proxy ARP on ${proxy}`}`;
  const behind = wanted?.interface ?? null;
  const subnet = wanted?.subnet ?? (behind === null ? '' : `the network behind ${behind}`);
  const reason = network.reason === null ? 'not in the kernel' : network.reason.message;
  const bridge =
    observed === null
      ? `${network.name} (${reason})`
      : `${bridgeName(network)}  ${observed.addresses.join(' ')}  ${observed.up ? 'up' : 'down'}  mtu ${observed.mtu}${
          observed.hostNames?.state === 'set' ? '  *.lab resolves here' : ''
        }`;
  return {
    text: `${way}${observed === null ? ' (wanted)' : ''}  ${subnet}`.trimEnd(),
    below: [
      {
        text: bridge,
        below: [...portNodes(network, topology), ...doorNodes(network), ...reasonNodes(network)],
      },
    ],
  };
}

/** The lab as a tree: uplink → NAT → bridge → port → guest. */
export function topologyText(topology: Topology): string {
  const { lab, networks, guests } = topology;
  const loose = guests.filter((guest) => guest.nics.length === 0);
  const nodes = [
    ...networks.map((network) => networkNode(network, topology)),
    ...loose.map((guest): Node => ({ text: `${guest.name}  ${guest.state}  (no network)`, below: [] })),
  ];
  return `lab ${safeLine(lab.name)} (${lab.scope}, ${lab.state})\n${safeLine(uplinkText(lab))}\n${uplink6Text(topology)}${problemLines(lab).join('')}${draw(nodes, '')}`;
}

export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const { tables } = connection.client;
    const name = await labOf(connection, invocation);
    const [labs, networks, links, guests] = await Promise.all([
      rowsOf(connection, tables.labs),
      rowsOf(connection, tables.networks),
      rowsOf(connection, tables.links),
      rowsOf(connection, tables.guests),
    ]);
    const lab = labs.find((row) => row.name === name);
    if (lab === undefined) throw new Error(`lab ${name} is gone`);
    const ofLab = <Row extends { lab: string }>(rows: Row[]): Row[] => rows.filter((row) => row.lab === name);
    const topology = { lab, networks: ofLab(networks), links: ofLab(links), guests: ofLab(guests) };
    if (invocation.options['json'] === true) printJson(invocation.terminal, topology);
    else invocation.terminal.out(topologyText(topology));
    return 0;
  });
