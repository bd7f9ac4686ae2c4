// SPDX-License-Identifier: Apache-2.0
import {
  DhcpRange,
  GuestDefinition,
  LabDefinition,
  NetworkDefinition,
  NetworkMode,
  NicDefinition,
} from '../../contract/lab-file.ts';
import { ShapeDefinition, shapeWords } from '../../contract/shape.ts';
import type { z } from '../../contract/zod.ts';
import { nearest } from './nearest.ts';
import { type Finding, type Path, shown } from './positions.ts';

type Issue = z.core.$ZodIssue;

const modes = `one of ${NetworkMode.options.join(', ')}`;

/** What belongs in a place of the lab file, by its path with `*` for names and indexes. */
const expectations: Readonly<Record<string, string>> = {
  name: 'a lab name such as seed',
  networks: 'networks by name, such as br0: { subnet: 192.168.57.0/24 }',
  'networks.*': 'a network such as { subnet: 192.168.57.0/24, nat: true }',
  'networks.*.subnet': 'auto, or a subnet such as 192.168.57.0/24',
  'networks.*.address': 'an IPv4 address such as 192.168.57.1',
  'networks.*.mode': modes,
  'networks.*.ipv6': 'true, false, or a subnet such as fd12:3456:789a:1::/64',
  'networks.*.proxyArp': 'true or false',
  'networks.*.uplink': 'the name of a bridge, such as br-lan',
  'networks.*.interface': 'the name of an interface, such as eth1',
  'networks.*.nat': 'true or false',
  'networks.*.mtu': 'a whole number of bytes from 576 to 65535',
  'networks.*.dhcp': 'false, or a range such as { from: 192.168.57.100, to: 192.168.57.199 }',
  'networks.*.antispoof': 'true or false',
  'networks.*.dhcp.*': 'an IPv4 address such as 192.168.57.100',
  guests: 'guests by name, such as web: { image: micro }',
  'guests.*': 'a guest such as { image: micro, nics: [{ network: br0 }] }',
  'guests.*.image': 'micro, or the path of a disk image',
  'guests.*.memory': 'a size such as 256M or 2G',
  'guests.*.cpus': 'a whole number from 1 to 64',
  'guests.*.nics': 'a list such as [{ network: br0 }]',
  'guests.*.nics.*': 'a NIC such as { network: br0, address: 192.168.57.2 }',
  'guests.*.nics.*.network': 'the name of a network of this lab',
  'guests.*.nics.*.address': 'an IPv4 address such as 192.168.57.2',
  'guests.*.nics.*.mac': 'a MAC address such as 52:54:00:a1:3f:02',
  'guests.*.nics.*.shape': 'a shape such as { rate: 10mbit, delay: 20ms, jitter: 5ms, loss: 1% }',
  'guests.*.nics.*.shape.rate': shapeWords.rate,
  'guests.*.nics.*.shape.delay': shapeWords.delay,
  'guests.*.nics.*.shape.jitter': shapeWords.jitter,
  'guests.*.nics.*.shape.loss': shapeWords.loss,
};

const objects: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(LabDefinition.shape),
  'networks.*': Object.keys(NetworkDefinition.shape),
  'networks.*.dhcp': Object.keys(DhcpRange.shape),
  'guests.*': Object.keys(GuestDefinition.shape),
  'guests.*.nics.*': Object.keys(NicDefinition.shape),
  'guests.*.nics.*.shape': Object.keys(ShapeDefinition.shape),
};

/** The path's place in the tables above: names and indexes become `*`. */
function place(path: Path): string {
  const words = path.map((part, index) => {
    const variable = typeof part === 'number' || index === 1 || (path[0] === 'networks' && index === 3);
    return variable ? '*' : String(part);
  });
  return words.join('.');
}

/** zod's issues as findings: one or more for each, in the words of the lab file. */
export function findingsOf(issues: readonly Issue[], document: unknown, base: Path = []): Finding[] {
  return issues.flatMap((issue) => findings(issue, document, [...base, ...issue.path]));
}

function findings(issue: Issue, document: unknown, path: Path): Finding[] {
  const expected = expectations[place(path)];
  const more = expected === undefined ? {} : { expected };
  const found = valueAt(document, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, path));
    case 'invalid_key':
      return issue.issues.slice(0, 1).map((inner) => ({
        path,
        at: 'key',
        message: `"${shown(String(path.at(-1)))}" is not a name for a ${path[0] === 'networks' ? 'network' : 'guest'}: ${inner.message}`,
        expected: inner.message,
      }));
    case 'invalid_union': {
      // A map for `dhcp` means a range and a text for `subnet` a subnet: their own problems say more than "no match".
      const [first] = issue.errors;
      if (first && (isRecord(found) || typeof found === 'string')) return findingsOf(first, document, path);
      return [{ path, at: 'value', message: wrongType(found, path), ...more }];
    }
    case 'invalid_type':
      if (found === undefined) {
        const name = String(path.at(-1));
        return [
          { path: path.slice(0, -1), at: 'value', message: `"${name}" is missing${ofWhat(path)}`, ...more },
        ];
      }
      return [{ path, at: 'value', message: wrongType(found, path), ...more }];
    case 'invalid_format':
      return [
        { path, at: 'value', message: `${describe(found)} is not valid here: ${issue.message}`, ...more },
      ];
    case 'invalid_value':
      return [{ path, at: 'value', message: `${describe(found)} is not possible here`, ...more }];
    case 'too_big':
    case 'too_small':
    case 'custom':
    case 'invalid_element':
    case 'not_multiple_of':
    default:
      return [
        {
          path,
          at: 'value',
          message: `${describe(found)} is not possible here: ${lower(issue.message)}`,
          ...more,
        },
      ];
  }
}

function unknownKey(key: string, parent: Path): Finding {
  const allowed = objects[place(parent)] ?? [];
  const near = nearest(key, allowed);
  const meant = near === undefined ? '' : `, did you mean "${near}"?`;
  return {
    path: [...parent, key],
    at: 'key',
    message: `"${shown(key)}" is not a key${ofWhat([...parent, key])}${meant}`,
    expected: `one of ${allowed.join(', ')}`,
  };
}

/** ` of guest web`, for the message of a key in it. */
function ofWhat(path: Path): string {
  const name = shown(String(path[1]), 40);
  if (path.length < 2) return ' of a lab file';
  const thing = path[0] === 'networks' ? `network ${name}` : `guest ${name}`;
  if (path[0] === 'guests' && path[2] === 'nics' && path.length > 4)
    return ` of NIC ${String(path[3])} of ${thing}`;
  return path.length === 2 ? ` of ${String(path[0])}` : ` of ${thing}`;
}

function wrongType(found: unknown, path: Path): string {
  return `"${shown(String(path.at(-1) ?? 'the file'))}" is ${describe(found)}, which is the wrong type`;
}

/** A value of the document for people: `the number 5`, `the text "x"`, `empty`. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return `"${shown(value)}"`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return 'a map';
}

const lower = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(document: unknown, path: Path): unknown {
  let value = document;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Object.hasOwn(value, part) ? Reflect.get(value, part) : undefined;
  }
  return value;
}
