// SPDX-License-Identifier: Apache-2.0
import { Ipv4Cidr } from '../../contract/names.ts';
import { TapyardError } from '../../contract/error.ts';
import type { LabDefinition } from '../../contract/lab-file.ts';
import { contains, formatIpv4, ipv4, subnetOf } from '../net/ipv4.ts';
import { type NewNetwork, withAddress, withChangedNetwork, withNetwork, withoutNetwork } from './edit.ts';
import { editLabFile, type LoadedFile } from './lab-file.ts';
import { type Ground, makeNetwork } from './reconcile.ts';
import { type ResolvedLab, type ResolvedNetwork } from './resolve.ts';

/** What an edit of a network needs of its lab. */
export interface EditGround extends Ground {
  readonly file: string;
  /** Whether networks are made at once. */
  readonly up: boolean;
  /** What the lab will be with another definition. */
  readonly resolve: (definition: LabDefinition) => ResolvedLab;
}

/** One edit of a lab file: what is written, of which network, on which file. */
interface Edit {
  readonly network: string;
  readonly fileHash: string;
  readonly text: (text: string, definition: LabDefinition) => string;
}

/** Adds a network. Throws NETWORK_NAME_TAKEN, LAB_FILE_*, and as netd where the lab is up. */
export function createNetwork(
  ground: EditGround,
  network: string,
  wanted: NewNetwork,
  fileHash: string,
): Promise<LoadedFile> {
  const text: Edit['text'] = (old, definition) => {
    if (Object.hasOwn(definition.networks, network))
      throw new TapyardError(
        'NETWORK_NAME_TAKEN',
        `There is a network "${network}" in the lab ${ground.lab.name} already.`,
        { hint: 'Choose another name.', subject: `${ground.lab.name}/${network}` },
      );
    return withNetwork(old, network, wanted);
  };
  return kernelFirst(ground, { network, fileHash, text });
}

/** Makes a network another. Throws NO_SUCH_NETWORK, LAB_FILE_*, and as netd where the lab is up. */
export function changeNetwork(
  ground: EditGround,
  network: string,
  wanted: NewNetwork,
  fileHash: string,
): Promise<LoadedFile> {
  const text: Edit['text'] = (old, definition) => {
    refuseUnknown(ground, network, definition);
    const moved = movedAlong(definition, network, wanted);
    return moved.addresses.reduce(
      (result, { guest, nic, address }) => withAddress(result, guest, nic, address),
      withChangedNetwork(old, network, moved.network),
    );
  };
  return kernelFirst(ground, { network, fileHash, text });
}

/**
 * Takes a network out. Throws NO_SUCH_NETWORK, NETWORK_IN_USE, LAB_FILE_*. `running` are guests that run on it,
 * whether or not the file still has them.
 */
export async function removeNetwork(
  ground: EditGround,
  network: string,
  running: readonly string[],
  fileHash: string,
): Promise<LoadedFile> {
  const loaded = await editLabFile(ground.file, fileHash, (text, definition) => {
    refuseUnknown(ground, network, definition);
    refuseUsed(ground.lab.name, network, [...usersOf(definition, network), ...running]);
    return withoutNetwork(text, network);
  });
  if (ground.up) await ground.engine.removeNetwork(network);
  ground.applied.delete(network);
  return loaded;
}

/** The guests of the file that have a NIC on a network. */
export function usersOf({ guests }: LabDefinition, network: string): string[] {
  return Object.entries(guests)
    .filter(([, { nics }]) => nics.some((nic) => nic.network === network))
    .map(([name]) => name);
}

function refuseUsed(lab: string, network: string, users: readonly string[]): void {
  const names = [...new Set(users)];
  if (names.length === 0) return;
  throw new TapyardError(
    'NETWORK_IN_USE',
    `The network ${network} stays: ${names.join(', ')} ${names.length === 1 ? 'has a NIC' : 'have NICs'} on it.`,
    {
      hint: `Remove ${names.length === 1 ? 'that NIC' : 'those NICs'} first, or the ${names.length === 1 ? 'guest' : 'guests'}.`,
      subject: `${lab}/${network}`,
    },
  );
}

function refuseUnknown({ lab }: EditGround, network: string, { networks }: LabDefinition): void {
  if (Object.hasOwn(networks, network)) return;
  throw new TapyardError('NO_SUCH_NETWORK', `There is no network "${network}" in the file of ${lab.name}.`, {
    hint: `It has: ${Object.keys(networks).join(', ') || 'none'}.`,
    subject: `${lab.name}/${network}`,
  });
}

/**
 * Makes the network in the kernel, where the lab is up, and then writes the file: what the kernel refuses is
 * not written. Where the file cannot be written the kernel gets back what it had.
 */
async function kernelFirst(ground: EditGround, { network, fileHash, text }: Edit): Promise<LoadedFile> {
  const before = ground.lab.networks.find(({ name }) => name === network);
  let made = false;
  try {
    return await editLabFile(ground.file, fileHash, text, async (definition) => {
      const wanted = ground.resolve(definition).networks.find(({ name }) => name === network);
      if (!ground.up || !wanted) return;
      await makeNetwork(ground, wanted);
      made = true;
    });
  } catch (thrown) {
    if (made) await back(ground, network, before);
    throw thrown;
  }
}

/** Why the file could not be written is what matters; the rows tell what the kernel has. */
async function back(ground: EditGround, network: string, before: ResolvedNetwork | undefined): Promise<void> {
  ground.applied.delete(network);
  await (before ? makeNetwork(ground, before) : ground.engine.removeNetwork(network)).catch(() => undefined);
}

/** What moves into the new subnet with a network: its own addresses, and those that guests have reserved. */
interface Moved {
  readonly network: NewNetwork;
  readonly addresses: readonly { readonly guest: string; readonly nic: number; readonly address: string }[];
}

/**
 * Where a network gets another subnet of the same size, its addresses keep their places in it. What the caller
 * has written anew stays as written. Pure.
 */
export function movedAlong(definition: LabDefinition, name: string, wanted: NewNetwork): Moved {
  const old = definition.networks[name];
  const from = Ipv4Cidr.safeParse(old?.subnet).data;
  const to = Ipv4Cidr.safeParse(wanted.subnet).data;
  if (from === undefined || to === undefined) return { network: wanted, addresses: [] };
  const [here, there] = [subnetOf(from), subnetOf(to)];
  if (here.prefix !== there.prefix || here.network === there.network)
    return { network: wanted, addresses: [] };
  const moved = (address: string): string =>
    contains(here, ipv4(address)) ? formatIpv4(ipv4(address) - here.network + there.network) : address;
  const { address, dhcp } = wanted;
  const network = {
    ...wanted,
    ...(address === undefined ? {} : { address: moved(address) }),
    ...(dhcp === undefined || dhcp === false ? {} : { dhcp: { from: moved(dhcp.from), to: moved(dhcp.to) } }),
  };
  const addresses = Object.entries(definition.guests).flatMap(([guest, { nics }]) =>
    nics.flatMap((nic, index) =>
      nic.network === name && nic.address !== undefined && contains(here, ipv4(nic.address))
        ? [{ guest, nic: index, address: moved(nic.address) }]
        : [],
    ),
  );
  return { network, addresses };
}
