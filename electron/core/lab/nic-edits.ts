// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { LabDefinition, NicDefinition } from '../../contract/lab-file.ts';
import { sameShape, shapeNumbers, type ShapeDefinition, type ShapeNumbers } from '../../contract/shape.ts';
import { tapOf } from '../guest/spec.ts';
import { withNic, withoutNic, withShape } from './edit.ts';
import type { GuestHandle } from './engine.ts';
import { editLabFile, type LoadedFile } from './lab-file.ts';
import type { ResolvedLab, ResolvedNic } from './resolve.ts';

/** What an edit of a guest's NICs needs of its lab. */
export interface NicGround {
  readonly file: string;
  readonly guest: Pick<GuestHandle, 'id' | 'spec' | 'status' | 'plug' | 'unplug'>;
  /** What the lab will be with another definition. */
  readonly resolve: (definition: LabDefinition) => ResolvedLab;
  /** Makes a network of such a lab know the addresses that are reserved in it. */
  readonly prepare: (lab: ResolvedLab, network: string) => Promise<void>;
  /** What a NIC with a tap is held to, and holds it to something else; `nic` is the number by which netd knows it. */
  readonly shapeOf: (nic: number) => ShapeNumbers;
  readonly setShape: (network: string, nic: number, shape: ShapeNumbers) => Promise<{ changed: boolean }>;
}

/**
 * Adds a NIC: to the guest where that runs, then to the file, so what cannot be plugged is not written. Throws
 * NO_SUCH_GUEST, NO_SUCH_NETWORK, LAB_FILE_*, and as {@link GuestHandle.plug}.
 */
export async function addNic(
  ground: NicGround,
  nic: NicDefinition,
  fileHash: string | undefined,
): Promise<LoadedFile> {
  const { file, guest, resolve, prepare } = ground;
  let plugged: ResolvedNic | undefined;
  const edit = (text: string, definition: LabDefinition): string => {
    refuseUnknown(ground, definition);
    if (!Object.hasOwn(definition.networks, nic.network))
      throw new TapyardError('NO_SUCH_NETWORK', `There is no network "${nic.network}" in the lab file.`, {
        hint: `It has: ${Object.keys(definition.networks).join(', ') || 'none'}.`,
        subject: `${guest.spec.lab}/${nic.network}`,
      });
    return withNic(text, guest.spec.name, nic);
  };
  try {
    return await editLabFile(file, fileHash, edit, async (definition) => {
      if (!hasQemu(ground)) return;
      const lab = resolve(definition);
      const wanted = nicsIn(ground, lab).at(-1);
      if (!wanted) return;
      await prepare(lab, wanted.network);
      await guest.plug(wanted);
      plugged = wanted;
    });
  } catch (thrown) {
    // Why it is not in the file is what matters; the rows tell what the guest has.
    if (plugged) await guest.unplug(plugged).catch(() => undefined);
    throw thrown;
  }
}

/**
 * Takes a NIC away: from the guest where that runs, then from the file. Throws NO_SUCH_GUEST, NO_SUCH_NIC,
 * LAB_FILE_*, and as {@link GuestHandle.unplug}.
 */
export async function removeNic(
  ground: NicGround,
  index: number,
  fileHash: string | undefined,
): Promise<LoadedFile> {
  const { file, guest, resolve } = ground;
  let nic: ResolvedNic | undefined;
  let unplugged = false;
  const edit = (text: string, definition: LabDefinition): string => {
    refuseUnknown(ground, definition);
    const nics = nicsIn(ground, resolve(definition));
    nic = nics[index];
    if (!nic)
      throw new TapyardError('NO_SUCH_NIC', `The guest ${guest.spec.name} has no NIC eth${index}.`, {
        hint: nics.length === 0 ? 'It has none at all.' : `It has eth0 to eth${nics.length - 1}.`,
        subject: guest.id,
      });
    const macs = nics.map(({ mac }) => mac);
    return withoutNic(text, guest.spec.name, index, macs);
  };
  try {
    return await editLabFile(file, fileHash, edit, async () => {
      if (!nic || !hasQemu(ground)) return;
      await guest.unplug(nic);
      unplugged = true;
    });
  } catch (thrown) {
    if (nic && unplugged) await guest.plug(nic).catch(() => undefined);
    throw thrown;
  }
}

/**
 * Holds a NIC to a shape: where it has a tap first, so that what the kernel cannot do is not written. Throws
 * NO_SUCH_NIC, LAB_FILE_*, and what netd says.
 */
export async function shapeNic(
  ground: NicGround,
  index: number,
  shape: ShapeDefinition,
): Promise<{ file: LoadedFile; changed: boolean; live: boolean }> {
  const { file, guest } = ground;
  const nic = guest.spec.nics[index];
  if (!nic)
    throw new TapyardError('NO_SUCH_NIC', `The guest ${guest.spec.name} has no NIC eth${index}.`, {
      hint:
        guest.spec.nics.length === 0
          ? 'It has none at all.'
          : `It has eth0 to eth${guest.spec.nics.length - 1}.`,
      subject: guest.id,
    });
  const tap = hasQemu(ground) ? tapOf(nic, guest.status.taps) : undefined;
  const before = tap ? ground.shapeOf(tap.nic) : undefined;
  let changed = false;
  if (tap) ({ changed } = await ground.setShape(nic.network, tap.nic, shapeNumbers(shape)));
  try {
    const edited = await editLabFile(file, undefined, (text, definition) => {
      refuseUnknown(ground, definition);
      const now = definition.guests[guest.spec.name]?.nics[index]?.shape ?? {};
      if (sameShape(shapeNumbers(now), shapeNumbers(shape))) return text;
      if (!tap) changed = true;
      return withShape(text, guest.spec.name, index, shape);
    });
    return { file: edited, changed, live: tap !== undefined };
  } catch (thrown) {
    if (tap && before && changed) await ground.setShape(nic.network, tap.nic, before).catch(() => undefined);
    throw thrown;
  }
}

const hasQemu = ({ guest: { status } }: NicGround): boolean =>
  status.pid !== null || status.state === 'starting';

const nicsIn = ({ guest }: NicGround, lab: ResolvedLab): readonly ResolvedNic[] =>
  lab.guests.find(({ name }) => name === guest.spec.name)?.nics ?? [];

function refuseUnknown({ guest }: NicGround, { guests }: LabDefinition): void {
  if (Object.hasOwn(guests, guest.spec.name)) return;
  throw new TapyardError('NO_SUCH_GUEST', `The guest ${guest.spec.name} is no longer in the lab file.`, {
    hint: `It has: ${Object.keys(guests).join(', ') || 'none'}.`,
    subject: guest.id,
  });
}
