// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../contract/error.ts';
import {
  noShape,
  sameShape,
  type ShapeDefinition,
  shapeNumbers,
  type ShapeNumbers,
  shapeOf,
} from '../../contract/shape.ts';
import type { GuestRow, NicState, StepRow } from '../../contract/rows.ts';
import { type GuestSpec, type GuestStatus, tapOf } from '../guest/spec.ts';
import { networkIn, type Picture, tapIn } from '../net/picture.ts';
import type { Held, RecipeStep } from './recipe.ts';
import type { ResolvedGuest } from './resolve.ts';

/**
 * A guest's row: what the file wants, and what QEMU and netd say. `wanted` is undefined when it left the file. While
 * its NICs are being `edited` the guest has them before the file does, and none of them is told to have left it.
 */
export function guestRow(
  spec: GuestSpec,
  status: GuestStatus,
  wanted: ResolvedGuest | undefined,
  picture: Picture | null,
  edited: boolean,
): GuestRow {
  return {
    id: `${spec.lab}/${spec.name}`,
    lab: spec.lab,
    name: spec.name,
    state: status.state,
    stateReason: status.reason,
    since: status.since,
    pid: status.pid,
    accelerator: status.accelerator,
    image: wanted?.image ?? (spec.image.kind === 'micro' ? 'micro' : spec.image.path),
    imageLabel: spec.image.label,
    memory: spec.memory,
    cpus: spec.cpus,
    nics: spec.nics.map((nic) => nicState(spec, status, nic, wanted, picture)),
    leftNics: (edited ? [] : status.taps)
      .filter((tap) => !spec.nics.some((nic) => tapOf(nic, [tap])))
      .map((tap) => {
        const link = tapIn(picture, spec.lab, spec.name, tap.nic);
        const network = tap.network === '' ? (link?.ours?.network ?? '') : tap.network;
        return { network, mac: tap.mac, tap: link?.name ?? tap.tap };
      }),
    sockets: { serial: status.sockets.serial, vnc: status.sockets.vnc, qmp: status.sockets.qmp },
    serialRecord: status.serialRecord,
    wanted: wanted !== undefined,
    error: status.error,
  };
}

function nicState(
  spec: GuestSpec,
  status: GuestStatus,
  nic: GuestSpec['nics'][number],
  wanted: ResolvedGuest | undefined,
  picture: Picture | null,
): NicState {
  const held = tapOf(nic, status.taps);
  const link = held && tapIn(picture, spec.lab, spec.name, held.nic);
  // A guest that left the file has no network by name; its tap's label still says which.
  const network = nic.network === '' ? (link?.ours?.network ?? '') : nic.network;
  const lease = networkIn(picture, spec.lab, network)?.leases.find((each) => each.mac === nic.mac);
  const wantedShape = wanted?.nics[nic.index]?.shape ?? {};
  const reserved = wanted?.nics[nic.index]?.address ?? null;
  return {
    index: nic.index,
    network,
    mac: nic.mac,
    // The kernel's name for it, which somebody may have changed since QEMU got it.
    tap: link?.name ?? held?.tap ?? null,
    wantedTap: nic.tap,
    fd: held?.fd ?? null,
    address: lease?.address ?? reserved,
    addressSource:
      reserved !== null && (lease === undefined || lease.address === reserved)
        ? 'reserved'
        : lease
          ? 'lease'
          : null,
    leased: lease !== undefined,
    shape: link ? asWritten(link.shape ?? noShape, wantedShape) : wantedShape,
    wantedShape,
    plugged: held === undefined || !status.cut.includes(held.nic),
  };
}

/** What the kernel holds a NIC to, in the words of the file where that says the same. */
const asWritten = (observed: ShapeNumbers, wanted: ShapeDefinition): ShapeDefinition =>
  sameShape(observed, shapeNumbers(wanted)) ? wanted : shapeOf(observed);

/** What this core remembers of a step that it did. */
export interface StepRecord {
  readonly state: 'doing' | 'done' | 'failed';
  readonly ms: number | null;
  readonly error: ErrorData | null;
}

/** The recipe's steps as rows. What the kernel holds decides; the record adds time, failure and what is under way. */
export function stepRows(
  lab: string,
  steps: readonly RecipeStep[],
  held: Held,
  records: ReadonlyMap<string, StepRecord>,
): StepRow[] {
  return steps.map((step, order) => {
    const record = records.get(step.id);
    const holds = step.holds(held);
    const state =
      holds === true ? 'done' : record === undefined || record.state === 'done' ? 'pending' : record.state;
    return {
      id: step.id,
      lab,
      order,
      title: step.title,
      command: step.command,
      network: step.network,
      guest: step.guest,
      state,
      ms: holds === false ? null : (record?.ms ?? null),
      holds,
      by: step.by,
      error: state === 'failed' ? (record?.error ?? null) : null,
    };
  });
}
