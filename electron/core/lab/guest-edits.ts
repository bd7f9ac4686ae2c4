// SPDX-License-Identifier: Apache-2.0
import { dirname } from 'node:path';
import { TapyardError } from '../../contract/error.ts';
import { inspectImage } from '../image/inspect.ts';
import { resolveImage } from '../image/image.ts';
import { type NewGuest, withGuest, withoutGuest } from './edit.ts';
import type { GuestHandle } from './engine.ts';
import { editLabFile, type LoadedFile } from './lab-file.ts';

/** The answer to a guest's name that is taken. */
export const guestNameTaken = (lab: string, name: string): TapyardError =>
  new TapyardError('GUEST_NAME_TAKEN', `There is a guest "${name}" in the lab ${lab} already.`, {
    hint: 'Choose another name.',
    subject: `${lab}/${name}`,
  });

/** Writes a new guest into the file. Throws LAB_FILE_*, IMAGE_*. */
export async function createGuest(
  file: string,
  name: string,
  guest: NewGuest,
  fileHash: string,
): Promise<LoadedFile> {
  await inspectImage(resolveImage(guest.image, dirname(file)));
  return editLabFile(file, fileHash, (text) => withGuest(text, name, guest));
}

/** Takes a guest that is off out of the file. Throws GUEST_STATE, LAB_FILE_*. */
export async function removeGuest(
  file: string,
  guest: Pick<GuestHandle, 'spec' | 'status'>,
  fileHash: string,
): Promise<LoadedFile> {
  const { lab, name } = guest.spec;
  const { pid, state } = guest.status;
  if (pid !== null || state === 'starting')
    throw new TapyardError(
      'GUEST_STATE',
      `The guest ${name} is ${state}; only one that is shut off can be removed.`,
      {
        hint: 'Shut it down first.',
        subject: `${lab}/${name}`,
      },
    );
  return editLabFile(file, fileHash, (text) => withoutGuest(text, name));
}
