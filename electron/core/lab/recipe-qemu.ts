// SPDX-License-Identifier: Apache-2.0
import { dirname } from 'node:path';
import { TapyardError } from '../../contract/error.ts';
import type { Needs } from '../guest/prepare.ts';
import { tapOf } from '../guest/spec.ts';
import { diskArguments } from '../image/overlay.ts';
import type { RecipeInput } from './recipe.ts';
import type { ResolvedGuest, ResolvedNic } from './resolve.ts';
import { shellCommand, shellComment, shellLines, shellWord } from './shell-quote.ts';

/** What makes a guest by hand: what it needs, and QEMU's own line. */
export function qemuCommand(input: RecipeInput, guest: ResolvedGuest): string {
  const plan = input.plans.get(guest.name);
  const needs = plan && !(plan instanceof TapyardError) ? needsCommands(plan.needs) : [];
  const words = argvOf(input, guest.name);
  if (words) return [...needs, shellLines(withTaps(input, guest, words))].join('\n');
  return shellComment(
    plan instanceof TapyardError
      ? `${guest.name} would not start: ${plan.message}`
      : `What ${guest.name} is started with is known once it has been tried whether KVM runs guests here: tapyard check`,
  );
}

/** The line of the QEMU that runs, or of the one that would be started. */
export function argvOf({ argv, plans }: RecipeInput, guest: string): readonly string[] | undefined {
  const plan = plans.get(guest);
  return argv.get(guest) ?? (plan instanceof TapyardError ? undefined : plan?.argv);
}

/** A script cannot hold a file descriptor, so the line names the tap instead. */
function withTaps(input: RecipeInput, guest: ResolvedGuest, words: readonly string[]): string[] {
  const first = guest.nics.filter((nic) => !isPluggedLater(input, guest, nic));
  const taps = new Map(first.map((nic) => [`net${numberOf(input, guest, nic)}`, nic.tap]));
  return words.map((word) => {
    const netdev = /^tap,id=(net\d+),fd=\d+/.exec(word);
    const tap = netdev?.[1] === undefined ? undefined : taps.get(netdev[1]);
    return tap === undefined ? word : `tap,id=${netdev?.[1]},ifname=${tap},script=no,downscript=no`;
  });
}

/** Each makes what is not there, as Tapyard does at a start. */
function needsCommands({ runtime, key, disk }: Needs): string[] {
  const keygen = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', ''];
  return [
    makeIn(runtime),
    ...(key ? [unless(`${key.privateKey}.pub`, [...keygen, '-C', key.comment, '-f', key.privateKey])] : []),
    ...(disk ? [unless(disk.path, ['qemu-img', ...diskArguments(disk.path, disk.source)])] : []),
  ];
}

const unless = (path: string, command: readonly string[]): string =>
  `[ -e ${shellWord(path)} ] || ${makeIn(dirname(path), command)}`;

/** A directory that is for nobody else, nor are those above it that are made along with it; and what goes in it. */
const makeIn = (directory: string, ...then: (readonly string[])[]): string =>
  `(umask 077; ${[['mkdir', '-p', directory], ...then].map(shellCommand).join(' && ')})`;

/** A NIC's number in QEMU and in its tap's label. */
export const numberOf = ({ taps }: RecipeInput, { name }: ResolvedGuest, nic: ResolvedNic): number =>
  tapOf(nic, taps.get(name) ?? [])?.nic ?? nic.index;

/** Whether a QEMU that runs was started without this NIC. */
export function isPluggedLater(
  { argv, taps }: RecipeInput,
  { name }: ResolvedGuest,
  { mac }: ResolvedNic,
): boolean {
  const words = argv.get(name);
  return words !== undefined && taps.has(name) && !words.some((word) => word.includes(`,mac=${mac},`));
}
