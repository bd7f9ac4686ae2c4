// SPDX-License-Identifier: Apache-2.0
import {
  type ForwardDefinition,
  type LabDefinition,
  listeningText,
  type NetworkDefinition,
} from '../../contract/lab-file.ts';
import { jitterProblem, shapeWords } from '../../contract/shape.ts';
import type { Subnet } from '../net/ipv4.ts';
import {
  contains,
  formatIpv4,
  formatSubnet,
  hostRange,
  ipv4,
  isHostAddress,
  overlap,
  subnetOf,
} from '../net/ipv4.ts';
import { nearest } from './nearest.ts';
import type { Finding, Path } from './positions.ts';

/** Address space that a lab may use: private (RFC 1918), shared (RFC 6598) and benchmarking (RFC 2544). */
const allowed = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '198.18.0.0/15'];

/** libvirt's default network: taking it breaks every libvirt host, so a lab never does. */
const libvirtDefault = '192.168.122.0/24';

/** Interface names that Tapyard itself uses in the lab's namespace (pasta's side of the uplink). */
const ourInterfaces = new Set(['up0']);

/** The shortest prefix of a subnet with proxy ARP, as netd has it. */
const proxiedPrefix = 24;

/** The bridge's address: as the file says, else the first of the subnet. */
export function gatewayOf(subnet: string, address: string | undefined): number {
  return address === undefined ? subnetOf(subnet).network + 1 : ipv4(address);
}

/** What no single value of the file can tell: subnets, addresses, ranges, names of networks, MACs. */
export function ruleFindings(definition: LabDefinition): Finding[] {
  return [...networkFindings(definition), ...nicFindings(definition), ...forwardFindings(definition)];
}

function networkFindings(definition: LabDefinition): Finding[] {
  const findings: Finding[] = [];
  const subnets: { name: string; subnet: Subnet }[] = [];
  const devices = new Map<string, string>();
  for (const [name, network] of Object.entries(definition.networks)) {
    const path = ['networks', name];
    if (ourInterfaces.has(name)) {
      const message = `"${name}" is the name of Tapyard's own uplink interface`;
      findings.push({ path, at: 'key', message, expected: 'another name, such as br0' });
    }
    findings.push(...modeFindings(name, network));
    const device = network.interface;
    if (device !== undefined) {
      const earlier = devices.get(device);
      if (earlier !== undefined)
        findings.push({
          path: [...path, 'interface'],
          at: 'value',
          message: `${device} is the interface of network ${earlier} already`,
          expected: `another interface; or NICs on ${earlier}`,
        });
      devices.set(device, name);
    }
    const cidr = fixedSubnet(network);
    if (cidr === undefined) continue;
    const subnet = subnetOf(cidr);
    const wrong = subnetFinding(cidr, subnet);
    if (wrong) {
      findings.push({ path: [...path, 'subnet'], at: 'value', ...wrong });
      continue;
    }
    const other = subnets.find((earlier) => overlap(earlier.subnet, subnet));
    if (other) {
      findings.push({
        path: [...path, 'subnet'],
        at: 'value',
        message: `${cidr} overlaps ${formatSubnet(other.subnet)} of network ${other.name}`,
        expected: 'a subnet that no other network of the lab uses',
      });
    }
    subnets.push({ name, subnet });
    findings.push(...addressFindings([...path, 'address'], network.address, subnet, name));
    findings.push(...rangeFindings(network, subnet, path));
    if (network.antispoof === true && network.dhcp === false)
      findings.push({
        path: [...path, 'antispoof'],
        at: 'value',
        message: `without DHCP nothing tells which address in network ${name} is whose, so none can be guarded`,
        expected: 'false, or a network with DHCP',
      });
  }
  return findings;
}

/** Keys that do not go with a network's mode, and those that it lacks. */
function modeFindings(name: string, network: NetworkDefinition): Finding[] {
  const path = ['networks', name];
  const { mode, uplink } = network;
  if (mode === 'bridged') {
    const foreign = (['subnet', 'address', 'ipv6', 'proxyArp', 'nat', 'mtu', 'dhcp'] as const).filter(
      (key) => network[key] !== undefined,
    );
    const what =
      network.interface === undefined
        ? 'a bridge that is there already'
        : `the network behind ${network.interface}`;
    return [
      ...foreign.map((key): Finding => {
        const message = `"${key}" is not for a bridged network: ${name} is ${what}`;
        return { path: [...path, key], at: 'key', message, expected: `no "${key}" here` };
      }),
      ...bridgedFindings(name, network, path),
    ];
  }
  return [
    ...(fixedSubnet(network) === undefined
      ? (['address', 'dhcp'] as const)
          .filter((key) => network[key] !== undefined && network[key] !== false)
          .map((key) => needsSubnet([...path, key], 'key', `"${key}"`, name))
      : []),
    ...(uplink === undefined
      ? []
      : [
          {
            path: [...path, 'uplink'],
            at: 'key',
            message: `"uplink" is the bridge of a network with mode: bridged, and ${name} is ${mode}`,
            expected: 'no "uplink" here, or mode: bridged',
          } as const,
        ]),
    ...(network.interface === undefined
      ? []
      : [
          {
            path: [...path, 'interface'],
            at: 'key',
            message: `"interface" is the port of a network with mode: bridged, and ${name} is ${mode}`,
            expected: 'no "interface" here, or mode: bridged',
          } as const,
        ]),
    ...proxyFindings(name, network, path),
    ...(mode === 'nat' || network.nat === undefined
      ? []
      : [
          {
            path: [...path, 'nat'],
            at: 'key',
            message: `"nat" is the switch of a network with mode: nat, and ${name} is ${mode}`,
            expected: 'no "nat" here, or mode: nat',
          } as const,
        ]),
  ];
}

/** With proxy ARP a routed network has a part of the LAN's subnet, which only the file can say. */
function proxyFindings(name: string, network: NetworkDefinition, path: Path): Finding[] {
  const { mode, proxyArp } = network;
  if (proxyArp === undefined) return [];
  if (mode !== 'routed')
    return [
      {
        path: [...path, 'proxyArp'],
        at: 'key',
        message: `"proxyArp" is for a network with mode: routed, and ${name} is ${mode}`,
        expected: 'no "proxyArp" here, or mode: routed',
      },
    ];
  if (!proxyArp) return [];
  const cidr = fixedSubnet(network);
  const expected = 'a part of the LAN’s subnet, such as 192.168.1.192/28 of 192.168.1.0/24';
  if (cidr === undefined)
    return [
      {
        path: [...path, 'proxyArp'],
        at: 'key',
        message: `"proxyArp" needs a subnet that the file says, and that of ${name} is chosen by Tapyard`,
        expected: `subnet: ${expected}`,
      },
    ];
  return subnetOf(cidr).prefix >= proxiedPrefix
    ? []
    : [
        {
          path: [...path, 'subnet'],
          at: 'value',
          message: `${cidr} has more addresses than the 256 that this computer answers for on a LAN`,
          expected,
        },
      ];
}

/** A bridged network has either a bridge of somebody else's, or one of its own with an interface. */
function bridgedFindings(name: string, network: NetworkDefinition, path: Path): Finding[] {
  const { uplink } = network;
  const device = network.interface;
  if (uplink === undefined && device === undefined)
    return [
      {
        path,
        at: 'value',
        message: `"uplink" is missing of network ${name}`,
        expected: 'the name of a bridge, such as br-lan; or "interface", one that this computer does not use',
      },
    ];
  if (uplink !== undefined && device !== undefined)
    return [
      {
        path: [...path, 'interface'],
        at: 'key',
        message: `network ${name} has an "uplink" already, and is on one of the two`,
        expected: `no "interface" here, or no "uplink"`,
      },
    ];
  if (device === name)
    return [
      {
        path: [...path, 'interface'],
        at: 'value',
        message: `${name} is the name of the bridge that ${device} is to be a port of`,
        expected: 'another name for the network, such as lan',
      },
    ];
  return [];
}

/** The subnet that the file says; undefined where it is chosen, or where there is none. */
export function fixedSubnet({ mode, subnet }: NetworkDefinition): string | undefined {
  return mode === 'bridged' || subnet === 'auto' ? undefined : subnet;
}

const needsSubnet = (path: Path, at: Finding['at'], what: string, network: string): Finding => ({
  path,
  at,
  message: `${what} needs a subnet that the file says, and that of ${network} is chosen by Tapyard`,
  expected: `a subnet for ${network}, such as 192.168.57.0/24`,
});

function subnetFinding(text: string, subnet: Subnet): { message: string; expected: string } | undefined {
  const clean = formatSubnet(subnet);
  if (clean !== text)
    return {
      message: `${text} is an address inside a subnet, not a subnet: its host bits are set`,
      expected: clean,
    };
  if (overlap(subnet, subnetOf(libvirtDefault)))
    return {
      message: `${text} overlaps ${libvirtDefault}, libvirt's default network`,
      expected: 'another subnet, such as 192.168.57.0/24',
    };
  const inside = (cidr: string): boolean => {
    const space = subnetOf(cidr);
    return contains(space, subnet.network) && contains(space, subnet.broadcast);
  };
  if (!allowed.some(inside))
    return {
      message: `${text} is not a private subnet, so real hosts may have its addresses`,
      expected: `a subnet within ${allowed.join(', ')}`,
    };
  return undefined;
}

function addressFindings(
  path: Path,
  address: string | undefined,
  subnet: Subnet,
  network: string,
): Finding[] {
  if (address === undefined || isHostAddress(subnet, ipv4(address))) return [];
  const number = ipv4(address);
  const what =
    number === subnet.network
      ? `is the network address of ${formatSubnet(subnet)}`
      : number === subnet.broadcast
        ? `is the broadcast address of ${formatSubnet(subnet)}`
        : `is outside ${formatSubnet(subnet)}, the subnet of network ${network}`;
  return [
    { path, at: 'value', message: `${address} ${what}`, expected: `an address from ${hostRange(subnet)}` },
  ];
}

function rangeFindings(network: NetworkDefinition, subnet: Subnet, path: Path): Finding[] {
  const { dhcp } = network;
  if (dhcp === undefined || dhcp === false) return [];
  const name = String(path[1]);
  const outside = Object.entries(dhcp).flatMap(([end, address]) =>
    addressFindings([...path, 'dhcp', end], address, subnet, name),
  );
  if (outside.length > 0 || ipv4(dhcp.from) <= ipv4(dhcp.to)) return outside;
  const message = `the DHCP range ends at ${dhcp.to} before it begins at ${dhcp.from}`;
  return [
    { path: [...path, 'dhcp', 'to'], at: 'value', message, expected: `an address from ${dhcp.from} on` },
  ];
}

function nicFindings(definition: LabDefinition): Finding[] {
  const findings: Finding[] = [];
  const addresses = new Map<string, string>();
  const macs = new Map<string, string>();
  const networks = new Map(Object.entries(definition.networks));
  for (const [guest, { nics }] of Object.entries(definition.guests)) {
    for (const [index, nic] of nics.entries()) {
      const path = ['guests', guest, 'nics', index];
      const owner = `NIC ${index} of ${guest}`;
      const network = networks.get(nic.network);
      if (!network) {
        const names = [...networks.keys()];
        const near = nearest(nic.network, names);
        findings.push({
          path: [...path, 'network'],
          at: 'value',
          message: `there is no network "${nic.network}" in this lab${near === undefined ? '' : `, did you mean "${near}"?`}`,
          expected: names.length === 0 ? 'a network under "networks"' : `one of ${names.join(', ')}`,
        });
      } else if (nic.address !== undefined) {
        findings.push(
          ...reservationFindings(nic.address, nic.network, network, [...path, 'address'], owner, addresses),
        );
      }
      const jitter = jitterProblem(nic.shape ?? {});
      if (jitter !== undefined)
        findings.push({
          path: [...path, 'shape', 'jitter'],
          at: 'value',
          message: jitter,
          expected: shapeWords.jitter,
        });
      if (nic.mac !== undefined) {
        const taken = macs.get(nic.mac);
        if (taken !== undefined)
          findings.push({
            path: [...path, 'mac'],
            at: 'value',
            message: `${nic.mac} is already the MAC address of ${taken}`,
            expected: 'a MAC address of its own',
          });
        macs.set(nic.mac, owner);
      }
    }
  }
  return findings;
}

/** Two forwards cannot listen on one port of a protocol; 0.0.0.0 is every address. */
function forwardFindings(definition: LabDefinition): Finding[] {
  const findings: Finding[] = [];
  const earlier: (ForwardDefinition & { guest: string })[] = [];
  for (const [guest, { nics, forwards }] of Object.entries(definition.guests)) {
    for (const [index, forward] of forwards.entries()) {
      const { address, port, protocol } = forward;
      const path = ['guests', guest, 'forwards', index, 'port'];
      const taken = earlier.find(
        (other) =>
          other.port === port &&
          other.protocol === protocol &&
          (other.address === address || [other.address, address].includes('0.0.0.0')),
      );
      if (taken)
        findings.push({
          path,
          at: 'value',
          message: `${listeningText(taken)} is already a forward to ${taken.guest}`,
          expected: 'a port that no other forward of the lab has',
        });
      else if (nics.length === 0)
        findings.push({
          path,
          at: 'value',
          message: `nothing can be forwarded to ${guest}: it has no NIC`,
          expected: 'a guest with a NIC',
        });
      earlier.push({ guest, ...forward });
    }
  }
  return findings;
}

function reservationFindings(
  address: string,
  networkName: string,
  network: NetworkDefinition,
  path: Path,
  owner: string,
  addresses: Map<string, string>,
): Finding[] {
  if (network.mode === 'bridged') {
    const message = `nothing would give the guest ${address}: network ${networkName} is bridged, and who gives addresses there is not Tapyard`;
    return [{ path, at: 'value', message, expected: 'no address' }];
  }
  const cidr = fixedSubnet(network);
  if (cidr === undefined) return [needsSubnet(path, 'value', address, networkName)];
  const subnet = subnetOf(cidr);
  // What is wrong with the subnet has been said; the addresses in it are right or wrong with it.
  if (subnetFinding(cidr, subnet)) return [];
  const outside = addressFindings(path, address, subnet, networkName);
  if (outside.length > 0) return outside;
  const finding = (message: string): Finding[] => [
    { path, at: 'value', message, expected: `a free address from ${hostRange(subnet)}` },
  ];
  if (ipv4(address) === gatewayOf(cidr, network.address))
    return finding(`${address} is the host's own address (the gateway) in network ${networkName}`);
  const taken = addresses.get(address);
  if (taken !== undefined) return finding(`${address} is already the address of ${taken}`);
  addresses.set(address, owner);
  if (network.dhcp === false) {
    const message = `nothing would give the guest ${formatIpv4(ipv4(address))}: network ${networkName} has DHCP turned off`;
    return [{ path, at: 'value', message, expected: 'no address, or a network with DHCP' }];
  }
  return [];
}
