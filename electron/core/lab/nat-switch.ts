// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { networkIn, type Picture } from '../net/picture.ts';
import { withNat } from './edit.ts';
import { editLabFile, type LoadedFile } from './lab-file.ts';
import type { ResolvedLab } from './resolve.ts';

/** Throws NO_SUCH_NETWORK, NO_NAT_SWITCH. What left the file and still runs has its switch. */
export function refuseWithoutSwitch(lab: ResolvedLab, network: string, picture: Picture | null): void {
  const wanted = lab.networks.find((each) => each.name === network);
  if (!wanted && !networkIn(picture, lab.name, network))
    throw new TapyardError('NO_SUCH_NETWORK', `There is no network "${network}" in the lab ${lab.name}.`, {
      hint: `It has: ${lab.networks.map((each) => each.name).join(', ') || 'none'}.`,
      subject: `${lab.name}/${network}`,
    });
  if (wanted && wanted.mode !== 'nat')
    throw new TapyardError('NO_NAT_SWITCH', `${network} is ${wanted.mode}: it has no NAT to switch.`, {
      hint: 'Give the network mode: nat in the lab file, and bring the lab up again.',
      subject: `${lab.name}/${network}`,
    });
}

/** Writes what the kernel has by now into the file. Throws LAB_FILE_UNWRITABLE whatever keeps it from that. */
export async function writeNat(file: string, network: string, nat: boolean): Promise<LoadedFile> {
  try {
    return await editLabFile(file, undefined, (text, definition) =>
      Object.hasOwn(definition.networks, network) ? withNat(text, network, nat) : text,
    );
  } catch (thrown) {
    const error = TapyardError.from(thrown);
    throw new TapyardError(
      'LAB_FILE_UNWRITABLE',
      `NAT of ${network} is ${nat ? 'on' : 'off'} now, but the lab file does not say so: ${error.message}`,
      {
        hint: error.hint ?? 'Write it there yourself, or it is lost with the next up.',
        subject: file,
      },
    );
  }
}
